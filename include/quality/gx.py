"""
The one place that imports Great Expectations, quietly: no analytics, no log line for each class that it registers, no
progress bars.

No data context is made: it would cost tenths of a second, and look for accounts and settings that nobody here has.
"""

from __future__ import annotations

import contextlib
import logging
import marshal
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
logging.getLogger("great_expectations").setLevel(logging.WARNING)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from great_expectations.compatibility import pydantic
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.core.id_dict import IDDict
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation import (
        BatchExpectation,
        ColumnMapExpectation,
        ColumnPairMapExpectation,
        Expectation,
        MulticolumnMapExpectation,
    )
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import list_registered_expectation_implementations
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaSectionView
    from great_expectations.validator.validator import Validator

__all__ = [
    "BatchExpectation",
    "ColumnMapExpectation",
    "ColumnPairMapExpectation",
    "ExpectationConfiguration",
    "ExpectationNotFoundError",
    "ExpectationSuiteValidationResult",
    "ExpectationValidationResult",
    "MulticolumnMapExpectation",
    "list_registered_expectation_implementations",
    "new_page_renderer",
    "new_section_view",
    "pydantic",
    "validate",
]

_MADE_ANEW, _BUILT_ANEW, _NAMED_ANEW = Expectation.configuration, ExpectationConfiguration.to_domain_obj, IDDict.to_id


class _NarrowPandasEngine(PandasExecutionEngine):  # type: ignore[misc]
    """
    Great Expectations' pandas engine, except that a rule gets the columns that it names and no others.

    The original filters nulls out of the whole frame for each rule, so that each rule copies every column.
    """

    def get_domain_records(self, domain_kwargs: dict[str, Any]) -> pd.DataFrame:
        """Rows that a rule judges, narrowed to its columns."""
        frame: pd.DataFrame = super().get_domain_records(domain_kwargs=domain_kwargs)
        named = [domain_kwargs[key] for key in ("column", "column_A", "column_B") if key in domain_kwargs]
        columns = list(dict.fromkeys([*named, *domain_kwargs.get("column_list", ())]))
        return frame[columns] if columns and frame.columns.is_unique else frame


def validate(
    frame: pd.DataFrame, configurations: Sequence[ExpectationConfiguration], runtime: Mapping[str, Any]
) -> list[ExpectationValidationResult]:
    """Have Great Expectations judge one frame, by all expectations at once; `runtime` is its runtime configuration."""
    engine = _NarrowPandasEngine()
    engine.load_batch_data("partition", frame)
    validator = Validator(execution_engine=engine)
    validator.metrics_calculator.show_progress_bars = False
    with _looked_up_once():
        answers: list[ExpectationValidationResult] = validator.graph_validate(list(configurations), dict(runtime))
    return answers


@contextlib.contextmanager
def _looked_up_once() -> Iterator[None]:
    """
    Keep what Great Expectations makes of each expectation for the length of a validation: its configuration, and its
    metrics' identities.

    The original makes them anew at each look, and at twenty rules it looks three thousand times: two thirds of a small
    partition's validation.
    """
    made: dict[int, tuple[Any, Any]] = {}
    built: dict[int, tuple[Any, bytes, Any]] = {}
    names: dict[tuple[type, bytes], Any] = {}

    def configuration(expectation: Any) -> Any:
        # The expectation is kept too, so that no other takes its id.
        _, found = made.get(id(expectation)) or made.setdefault(
            id(expectation), (expectation, _MADE_ANEW.fget(expectation))
        )
        return found

    def to_domain_obj(configuration: Any) -> Any:
        content = _bytes_of(configuration.kwargs)
        if content is None:
            return _BUILT_ANEW(configuration)
        _, known, found = built.get(id(configuration), (None, None, None))
        if known != content:
            found = _BUILT_ANEW(configuration)
            built[id(configuration)] = (configuration, content, found)
        return found

    def to_id(kwargs: Any, id_keys: Any = None, id_ignore_keys: Any = None) -> Any:
        content = _bytes_of(kwargs) if id_keys is None and id_ignore_keys is None else None
        if content is None:
            return _NAMED_ANEW(kwargs, id_keys, id_ignore_keys)
        key = type(kwargs), content
        if key not in names:
            names[key] = _NAMED_ANEW(kwargs)
        return names[key]

    Expectation.configuration = property(configuration)
    ExpectationConfiguration.to_domain_obj = to_domain_obj
    IDDict.to_id = to_id
    try:
        yield
    finally:
        Expectation.configuration = _MADE_ANEW
        ExpectationConfiguration.to_domain_obj = _BUILT_ANEW
        IDDict.to_id = _NAMED_ANEW


def _bytes_of(kwargs: Mapping[str, Any]) -> bytes | None:
    """Tell arguments apart by their content; None if they are more than numbers, texts and lists of these."""
    try:
        return marshal.dumps(dict(kwargs), 2)
    except ValueError:
        return None


def new_page_renderer() -> ValidationResultsPageRenderer:
    """Great Expectations' renderer of one validation's page."""
    return ValidationResultsPageRenderer(run_info_at_end=True)


def new_section_view() -> DefaultJinjaSectionView:
    """Great Expectations' HTML template of one section of a page, compiled with all that it includes."""
    view = DefaultJinjaSectionView()
    for name in view.env.list_templates(extensions=["j2"]):
        view.env.get_template(name)
    return view

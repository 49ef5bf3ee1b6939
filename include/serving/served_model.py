"""A model as the endpoint holds it: verified, warmed, and ready to score a single row without a DataFrame."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.errors import DataError, DeploymentError, RequestError
from include.modeling.compiled import compile_scorer
from include.modeling.model import Model, manifest_digest
from include.modeling.schema import InputColumn, coerce_row

logger = logging.getLogger(__name__)

Rows = Sequence[Mapping[str, Any]]
COMPILED_TOLERANCE = 1e-9


class NotFiniteScoreError(Exception):
    """Raised when a model gives NaN or infinity. It is the server's fault, so that the answer is 500."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """
    One loaded version. `compiled` scores few rows at once in microseconds; None where the family has no
    such form.
    """

    version: str
    digest: str
    as_of: str
    family: str
    columns: tuple[InputColumn, ...]
    predict: Callable[[Rows], Any] = field(repr=False)
    compiled: Callable[[Rows], list[float]] | None = field(repr=False)
    threshold: float | None = 0.5

    def label(self, score: float) -> bool | None:
        """Whether a probability counts as positive; None where a number is predicted."""
        return None if self.threshold is None else score >= self.threshold

    def score(self, rows: Rows, *, is_small: bool) -> list[float]:
        """
        Probability of the positive class, or predicted number, for each row: the same by either way to 1e-9.

        Raises
        ------
        RequestError
            422 if the feature function cannot work with a row.

        """
        try:
            scores = self.compiled(rows) if is_small and self.compiled is not None else self.predict(rows).tolist()
        except DataError as error:
            raise RequestError(f"no features can be made of the row: {error}", status=422) from None
        if not all(map(math.isfinite, scores)):
            raise NotFiniteScoreError(f"version {self.version} gave a score that is no finite number")
        return [float(score) for score in scores]


def serve_model(version: str, model: Model, *, golden: Rows = ()) -> ServedModel:
    """
    Prepare a verified model: compile it, and let it score its golden rows so that the first request is as fast as the
    next.

    A compiled form that differs from the model itself on those rows is not used.

    Raises
    ------
    DeploymentError
        If the model tells several classes apart.

    """
    manifest = model.manifest
    if manifest.task == "multiclass":
        raise DeploymentError(
            f"version {version} tells {len(manifest.classes)} classes apart: the endpoint serves two classes or "
            "numbers only"
        )
    compiled = compile_scorer(model)
    rows = [coerce_row(manifest.input_columns, row) for row in golden]
    expected = model.predict(rows).tolist()
    if compiled is not None and not _agree(compiled(rows), expected):
        logger.error(
            "version %s: the compiled form differs from the model on its golden rows, and is not used", version
        )
        compiled = None
    return ServedModel(
        version=version,
        digest=manifest_digest(manifest),
        as_of=str(manifest.as_of),
        family=manifest.family,
        columns=tuple(manifest.input_columns),
        predict=model.predict,
        compiled=compiled,
        threshold=manifest.threshold if manifest.task == "classification" else None,
    )


def _agree(left: Sequence[float], right: Sequence[float]) -> bool:
    return all(abs(a - b) <= COMPILED_TOLERANCE for a, b in zip(left, right, strict=True))

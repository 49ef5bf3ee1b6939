"""What is deployed: one registered version, verified, with its files at hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from include.errors import SmokeTestError
from include.modeling.model import Golden, read_golden, verify_model
from include.registry.lookup import read_version, version_folder
from include.registry.store import Registry

TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Release:
    """A verified version. `folder` is there as long as the `with` of `open_release` lasts."""

    workflow: str
    version: str
    model_digest: str
    golden: Golden = field(repr=False)
    folder: Path


@contextmanager
def open_release(registry: Registry, workflow_name: str, version: str) -> Iterator[Release]:
    """
    Verify a version's package to the byte, and give its files for the time of the `with`.

    Raises
    ------
    ModelVersionNotFoundError
        If there is no such version.
    TamperedModelError
        If a byte of it differs from what was registered.

    """
    found = read_version(registry, workflow_name, version)
    with version_folder(registry, found) as folder:
        verify_model(folder, expected_digest=found.model_digest)  # and with it the golden rows
        yield Release(
            workflow=workflow_name,
            version=found.version,
            model_digest=found.model_digest,
            golden=read_golden(folder),
            folder=folder,
        )


def check_answer(answer: Mapping[str, Any], expected: Sequence[float], *, version: str) -> float:
    """
    Compare an endpoint's answer to golden rows with the offline scores.

    Parameters
    ----------
    answer : mapping
        The content of an answer to `POST /invocations`.
    expected : sequence of float
        The offline scores of the rows that were asked.
    version : str
        Which version has to have answered.

    Returns
    -------
    float
        The largest difference, at most `TOLERANCE`.

    Raises
    ------
    SmokeTestError
        If another version answered, the answer lacks its form, or a score differs.

    """
    if str(answer.get("model_version")) != version:
        raise SmokeTestError(f"version {answer.get('model_version')} answers, not the staged {version}")
    predictions = answer.get("predictions")
    if not isinstance(predictions, list) or len(predictions) != len(expected):
        raise SmokeTestError(f"the answer does not hold {len(expected)} predictions for {len(expected)} rows")
    scores = [_score_of(prediction) for prediction in predictions]
    difference = max(abs(score - offline) for score, offline in zip(scores, expected, strict=True))
    if difference > TOLERANCE:
        raise SmokeTestError(
            f"served scores differ from the offline ones by up to {difference:.3g}, {TOLERANCE:g} is allowed"
        )
    return difference


def _score_of(prediction: Any) -> float:
    score = prediction.get("score") if isinstance(prediction, dict) else None
    is_score = isinstance(score, float | int) and math.isfinite(score)
    if not is_score or not isinstance(prediction.get("label", ...), bool | None):
        raise SmokeTestError("a prediction is not {label: true, false or null, score: a finite number}")
    return float(score)  # type: ignore[arg-type]

"""Whether what a version was asked, or what it answered, has moved away from what it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from include.evaluation.divergence import adjust_p_values, compare_counts
from include.modeling.features import FeatureRow
from include.modeling.profile import FeatureProfile, TrainingProfile
from include.workflow import Drift

Verdict = Literal["ok", "drift", "unknown"]
_WORTH_TELLING = 0.02  # of the rows: by how much a share must have grown to be named as the cause


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """
    One feature of a window beside its profile.

    `effect` is the distance (0 to 1), `bound` what it has to exceed, `p_value` adjusted for the number of features; the
    first and last are None where nothing could be compared. `current` has the window's counts, in the profile's cells.
    """

    profile: FeatureProfile
    verdict: Verdict
    reason: str
    effect: float | None
    bound: float
    p_value: float | None
    current: tuple[int, ...]

    @property
    def name(self) -> str:
        """The feature's name."""
        return self.profile.name


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """Verdict on one window's inputs and answers. `features` has the answers last, under the name "prediction"."""

    verdict: Verdict
    reasons: tuple[str, ...]
    n_rows: int
    features: tuple[FeatureDrift, ...] = ()

    @property
    def effect(self) -> float | None:
        """The largest distance; None where nothing could be compared."""
        return max((item.effect for item in self.features if item.effect is not None), default=None)


def judge_drift(
    profile: TrainingProfile,
    features: Sequence[FeatureRow],
    scores: npt.NDArray[np.float64],
    *,
    settings: Drift,
    every: str,
) -> DriftReport:
    """
    Compare a window with the profile of the rows that its model was trained on.

    A feature has drifted if its distance exceeds `minimum_effect`, and that of the training rows' own windows, and if
    chance is no explanation (`alpha`, Benjamini-Hochberg over the features). So size decides, and a window's number of
    rows does not.

    Parameters
    ----------
    profile : TrainingProfile
        Of the version that answered.
    features : sequence of feature rows
        Of the rows that were asked for.
    scores : ndarray of shape (n_rows,)
        What was answered.
    settings : Drift
        As declared.
    every : str
        The window's length: "hour", "day" or "week".

    Returns
    -------
    DriftReport
        "unknown" with too few rows, or where a feature has no value at all and no other has drifted.

    """
    n_rows = len(features)
    if n_rows < settings.minimum_rows:
        return DriftReport(verdict="unknown", reasons=(_too_few(n_rows, settings),), n_rows=n_rows)
    counted: list[tuple[FeatureProfile, npt.NDArray[np.int64]]] = [
        (item, item.count([row.get(item.name) for row in features])) for item in profile.features
    ]
    if profile.prediction is not None:
        counted.append((profile.prediction, profile.prediction.count(scores)))
    return judge_counts(counted, n_rows=n_rows, settings=settings, every=every)


def judge_counts(
    counted: Sequence[tuple[FeatureProfile, npt.NDArray[np.int64]]], *, n_rows: int, settings: Drift, every: str
) -> DriftReport:
    """Judge a window of which only the counts are known (see `judge_drift`)."""
    if n_rows < settings.minimum_rows:
        return DriftReport(verdict="unknown", reasons=(_too_few(n_rows, settings),), n_rows=n_rows)
    compared = {
        i: compare_counts(item.counts, current)
        for i, (item, current) in enumerate(counted)
        if item.n_rows and current.sum() and (current[:-1].any() or not any(item.counts[:-1]))
    }
    adjusted = dict(zip(compared, adjust_p_values([found.p_value for found in compared.values()]), strict=True))
    found = []
    for i, (item, current) in enumerate(counted):
        bound = max(settings.minimum_effect, item.usual.get(every, 0.0))
        effect = compared[i].effect if i in compared else None
        verdict: Verdict = "unknown" if effect is None else "ok"
        if effect is not None and effect > bound and adjusted[i] <= settings.alpha:
            verdict = "drift"
        judged = FeatureDrift(
            profile=item,
            verdict=verdict,
            reason=_tell(item, current, verdict=verdict, effect=effect, bound=bound),
            effect=effect,
            bound=bound,
            p_value=adjusted.get(i),
            current=tuple(int(n) for n in current),
        )
        found.append(judged)
    verdicts = {item.verdict for item in found}
    window: Verdict = "drift" if "drift" in verdicts else "unknown" if "unknown" in verdicts or not found else "ok"
    reasons = [item.reason for item in sorted(found, key=lambda item: -(item.effect or 0)) if item.verdict != "ok"]
    return DriftReport(verdict=window, reasons=tuple(reasons), n_rows=n_rows, features=tuple(found))


def _too_few(n_rows: int, settings: Drift) -> str:
    return f"{n_rows} served rows: drift.minimum_rows={settings.minimum_rows} are needed to tell anything"


def _tell(
    item: FeatureProfile, current: npt.NDArray[np.int64], *, verdict: Verdict, effect: float | None, bound: float
) -> str:
    if effect is None:
        trained = (
            "its training rows were not counted"
            if not item.n_rows
            else f"{_percent(_shares(item)[-1])} missing in training"
        )
        return f"{item.name}: no row of the window has a value ({trained})"
    if verdict == "ok":
        return ""
    causes = ", ".join(_causes(item, current)) or "its values' shares have moved"
    return f"{item.name}: {effect:.2f} away from the training rows, above {bound:.2f} ({causes})"


def _causes(item: FeatureProfile, current: npt.NDArray[np.int64]) -> Iterator[str]:
    now, then = current / current.sum(), _shares(item)
    for said, cell in quality_cells(item).items():
        if now[cell] - then[cell] > _WORTH_TELLING:
            yield f"{_percent(now[cell])} {said}, {_percent(then[cell])} in training"


def quality_cells(item: FeatureProfile) -> dict[str, int]:
    """Cells that tell of the data's quality, by what they hold."""
    n = len(item.counts)
    if item.kind == "category":
        return {"missing": n - 1} if item.is_open else {"missing": n - 1, "never seen in training": n - 2}
    return (
        {"missing": n - 1, "below all training values": 0, "above all training values": n - 2}
        if n > 2
        else {"missing": n - 1}
    )


def _shares(item: FeatureProfile) -> Any:
    return np.asarray(item.counts, dtype=np.float64) / max(1, item.n_rows)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

"""Test rows whose truth is known: a logistic label, and models that see its feature with more or less noise."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from include.evaluation.gate import GateEvidence

CANDIDATE_AS_OF = datetime(2026, 2, 2, tzinfo=UTC)
CHAMPION_AS_OF = datetime(2026, 1, 26, tzinfo=UTC)


def logistic(x: np.ndarray) -> np.ndarray:
    """The usual sigmoid."""
    scores: np.ndarray = 1 / (1 + np.exp(-x))
    return scores


def draw_labels(rng: np.random.Generator, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A feature, and labels that are positive for about one row in five."""
    feature = 1.5 * rng.normal(size=n_rows)
    return feature, rng.random(n_rows) < logistic(feature - 2)


def draw_scores(rng: np.random.Generator, feature: np.ndarray, *, noise: float) -> np.ndarray:
    """Scores of a model that sees the feature with noise: the more, the worse."""
    return logistic(feature - 2 + noise * rng.normal(size=len(feature)))


def draw_evidence(
    *, seed: int = 0, n_rows: int = 2_000, noise: float = 0.6, champion_noise: float = 0.6, **changes: Any
) -> GateEvidence:
    """Evidence of a candidate and a champion, equally good by default; `changes` replace its parts."""
    rng = np.random.default_rng(seed)
    feature, y_true = draw_labels(rng, n_rows)
    parts: dict[str, Any] = {
        "metric": "average_precision",
        "y_true": y_true,
        "candidate": draw_scores(rng, feature, noise=noise),
        "naive": np.full(n_rows, y_true.mean()),
        "champion": draw_scores(rng, feature, noise=champion_noise),
        "seen_by_candidate": np.zeros(n_rows, dtype=bool),
        "seen_by_champion": np.zeros(n_rows, dtype=bool),
        "slices": {"depot": rng.choice(["north", "south"], n_rows)},
        "latency_ms": 1.0,
        "size_mb": 2.0,
        "candidate_as_of": CANDIDATE_AS_OF,
        "champion_as_of": CHAMPION_AS_OF,
        "random_state": 0,
    }
    return GateEvidence(**{**parts, **changes})

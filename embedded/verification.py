"""Ask the endpoint what it was asked offline: the same rows must give the same scores."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

TOLERANCE = 1e-9


class VerificationError(Exception):
    """Raised when the endpoint does not answer, or answers otherwise than the model did offline."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was checked: which version answered, on how many rows, and the greatest difference found."""

    model_name: str
    model_version: str
    n_rows: int
    max_difference: float
    sample_request: Mapping[str, Any]
    sample_answer: Mapping[str, Any]
    upcoming: Mapping[str, Any] | None = None
    """What the endpoint says of something that has not happened yet."""


def served_version(url: str, *, timeout_seconds: float = 30) -> str | None:
    """Version that the endpoint serves now; None while no champion does."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            response = _session().get(f"{url}/version", timeout=5)
        except requests.RequestException:
            if time.monotonic() > deadline:
                raise VerificationError(f"the endpoint {url} does not answer: see `make status`") from None
            time.sleep(0.5)
            continue
        return str(response.json()["model_version"]) if response.ok else None


def verify_predictions(url: str, *, rows: list[Mapping[str, Any]], expected: list[float]) -> Verified:
    """
    Send golden rows, and compare the scores with the offline ones.

    Raises
    ------
    VerificationError
        If the endpoint refuses them, or a score differs by more than 1e-9.

    """
    response = _session().post(f"{url}/invocations", json={"instances": rows}, timeout=30)
    if not response.ok:
        raise VerificationError(
            f"the endpoint refuses {len(rows)} golden rows ({response.status_code}): {response.text[:300]}"
        )
    answer = response.json()
    scores = [prediction["score"] for prediction in answer["predictions"]]
    if len(scores) != len(expected):
        raise VerificationError(f"the endpoint answers {len(scores)} predictions to {len(expected)} rows")
    difference = max(abs(served - offline) for served, offline in zip(scores, expected, strict=True))
    if not difference <= TOLERANCE:
        raise VerificationError(f"served and offline scores differ by {difference:.3g}, more than {TOLERANCE:g}")
    sample = dict(rows[0])
    sample_answer = _session().post(f"{url}/invocations", json=sample, timeout=30).json()
    return Verified(
        model_name=answer["model_name"],
        model_version=str(answer["model_version"]),
        n_rows=len(rows),
        max_difference=difference,
        sample_request=sample,
        sample_answer=sample_answer["predictions"][0],
    )


def verify_upcoming(url: str, *, row: Mapping[str, Any], expected: float) -> Mapping[str, Any]:
    """
    Ask for a row that nobody knows the truth of yet; the answer must be the offline one.

    Raises
    ------
    VerificationError
        If the endpoint refuses it, or the score differs by more than 1e-9.

    """
    response = _session().post(f"{url}/invocations", json=row, timeout=30)
    if not response.ok:
        raise VerificationError(f"the endpoint refuses a row of today ({response.status_code}): {response.text[:300]}")
    answer: Mapping[str, Any] = response.json()["predictions"][0]
    if not abs(answer["score"] - expected) <= TOLERANCE:
        raise VerificationError(f"of a row of today the endpoint says {answer['score']}, the model offline {expected}")
    return answer


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session

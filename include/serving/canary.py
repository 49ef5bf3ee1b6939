"""
A canary: the staged version answers a share of the requests, and is watched. The endpoint itself ends it; who asked
only looks on.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from include.evaluation.distance import score_distance

MAX_ANSWER_SECONDS = 1.0  # as in the smoke test; a slower answer is not waited for, the champion gives it
MAX_SLOW = 3  # one slow answer may be the machine's fault
_KEPT_SCORES = 1_000
_COMPARE_EVERY = 10
_THREADS = 2

State = Literal["running", "passed", "failed"]


@dataclass(frozen=True, kw_only=True)
class CanaryTerms:
    """What was asked for: the declaration's `Canary`, as numbers."""

    share: float
    requests: int
    seconds: float
    max_distance: float


class Canary:
    """
    One canary of one version.

    Parameters
    ----------
    version : str
        The staged version.
    terms : CanaryTerms
        Its share, and when it ends.
    clock : callable, optional
        Monotonic seconds.

    """

    def __init__(self, version: str, terms: CanaryTerms, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.version = version
        self.terms = terms
        self._clock = clock
        self._started = clock()
        self._due = 0.0
        self._lock = threading.Lock()  # scores come from threads
        self._scores: dict[str, deque[float]] = {
            "candidate": deque(maxlen=_KEPT_SCORES),
            "champion": deque(maxlen=_KEPT_SCORES),
        }
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="canary")
        self._n_working = 0
        self._state: State = "running"
        self.reason = ""
        self.n_requests = 0
        self.n_slow = 0
        self.slowest_seconds = 0.0

    @property
    def state(self) -> State:
        """Whether it still runs; past its time, what was seen decides."""
        with self._lock:
            if self._state == "running" and self._clock() - self._started >= self.terms.seconds:
                self._end()
            return self._state

    def takes_next(self) -> bool:
        """Whether the next request is the new version's: evenly, so that a share of 0.1 is every tenth."""
        if self.state != "running" or self._n_working >= _THREADS:
            return False
        self._due += self.terms.share
        if self._due < 1:
            return False
        self._due -= 1
        return True

    async def ask(self, work: Callable[[], Any]) -> Any:
        """
        Let the new version work, in a thread of its own, and don't wait for a slow answer.

        Raises
        ------
        TimeoutError
            If it took longer than allowed: it was counted as slow.

        """
        self._n_working += 1
        started = self._clock()
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # A thread can't be stopped: the place in the pool is free again once it has ended.
        future.add_done_callback(self._worked)
        try:
            return await asyncio.wait_for(asyncio.shield(future), MAX_ANSWER_SECONDS)
        except TimeoutError:
            self._slow()
            raise
        finally:
            self.slowest_seconds = max(self.slowest_seconds, self._clock() - started)

    def answered(self, scores: Sequence[float]) -> None:
        """Count a request that the new version has answered."""
        with self._lock:
            self._scores["candidate"].extend(scores)
            self.n_requests += 1
            if self._state != "running":
                return
            if self.n_requests >= self.terms.requests:
                self._end()
            elif self.n_requests % _COMPARE_EVERY == 0:
                self._compare()

    def champion_answered(self, scores: Sequence[float]) -> None:
        """Keep what the champion answers meanwhile."""
        with self._lock:
            self._scores["champion"].extend(scores)

    def fail(self, reason: str) -> None:
        """End it: the new version gets no more requests."""
        with self._lock:
            self._fail(reason)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def describe(self) -> dict[str, Any]:
        """What `GET /admin/status` tells."""
        state = self.state
        with self._lock:
            distance = self._distance()
        return {
            "version": self.version,
            "state": state,
            "reason": self.reason,
            "share": self.terms.share,
            "requests": self.n_requests,
            "slow": self.n_slow,
            "slowest_ms": round(self.slowest_seconds * 1000, 3),
            "distance": distance,
            "scores": {who: len(scores) for who, scores in self._scores.items()},
        }

    def _worked(self, future: asyncio.Future[Any]) -> None:
        self._n_working -= 1
        if not future.cancelled():
            future.exception()  # looked at here, for whoever waited may be gone

    def _slow(self) -> None:
        with self._lock:
            self.n_slow += 1
            if self.n_slow >= MAX_SLOW:
                self._fail(f"{self.n_slow} answers took longer than {MAX_ANSWER_SECONDS:g} s, {MAX_SLOW - 1} may")

    def _end(self) -> None:
        self._compare()
        if self._state == "running":
            self._state = "passed"

    def _compare(self) -> None:
        distance = self._distance()
        if distance is not None and distance > self.terms.max_distance:
            self._fail(
                "its scores are distributed otherwise than the champion's on the same traffic: distance "
                f"{distance:.2f}, {self.terms.max_distance:g} is allowed"
            )

    def _distance(self) -> float | None:
        return score_distance(self._scores["candidate"], self._scores["champion"])

    def _fail(self, reason: str) -> None:
        if self._state != "failed":
            self._state, self.reason = "failed", reason

"""Run a plan's trials one after the other within a budget of CPU time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from include.errors import UpdraftError
from include.selection.families import NAIVE, Configuration
from include.selection.plan import Plan, Tried
from include.selection.trial import Outcome, SearchData, bar_for, run_trial
from include.workflow.tasks import LOWER_IS_BETTER

_LOG = logging.getLogger(__name__)
_DEAR = 0.3  # a trial that would take more of what is left waits until the cheaper ones of the portfolio are through
# Cost of a fold beside one of boosting, before any of the family was run.
_ROWS_OF_EQUAL_COST = 6_000
_RELATIVE_COST = {"linear": 0.5, "neighbors": 0.3, "svm": 0.7, "forest": 2.0, "extra_trees": 1.0, "hist_boosting": 2.0}


@dataclass(kw_only=True)
class Budget:
    """CPU seconds of this process and, before it was started again, of its finished trials."""

    seconds: float
    started: float
    spent_before: float = 0.0
    reserve: Callable[[], float] = lambda: 0.0

    def left(self) -> float:
        """What trials may still take."""
        return self.seconds - self.spent_before - (time.process_time() - self.started) - self.reserve()


class Worker:
    """
    One worker of a search.

    Parameters
    ----------
    data, plan, budget
        On which rows, what, for how long.
    worker, n_workers, max_trials
        Its share of the numbers.
    finished : mapping of int to Outcome
        Trials of its share that an earlier life of it has finished: none is repeated.
    record : callable
        Told of each new outcome; gives back the one that stands.
    others : callable
        Trials of other workers that are finished by now, for the plan to learn from.

    """

    def __init__(  # noqa: PLR0913 - a record of these would be used once
        self,
        data: SearchData,
        plan: Plan,
        budget: Budget,
        *,
        worker: int = 0,
        n_workers: int = 1,
        max_trials: int | None = None,
        finished: Mapping[int, Outcome] | None = None,
        record: Callable[[int, Outcome], Outcome] = lambda number, outcome: outcome,
        others: Callable[[], Sequence[Tried]] = tuple,
    ) -> None:
        self.data, self.plan, self.budget = data, plan, budget
        self.worker, self.n_workers, self.max_trials = worker, n_workers, max_trials
        self.finished = dict(finished or {})
        self.record, self.others = record, others
        self.outcomes: dict[int, Outcome] = {}
        self._naive: Outcome | None = None

    def run(self) -> dict[int, Outcome]:
        """Try what fits into the budget; outcomes by number. The baseline and the first configuration always run."""
        dear: list[tuple[int, Configuration]] = []
        n_fixed = len(self.plan.fixed)
        for number in self.plan.numbers(worker=self.worker, n_workers=self.n_workers, max_trials=self.max_trials):
            is_new = number not in self.finished
            if number >= n_fixed:
                self._try_all(dear)
            affordable = self._affordable()
            if number >= n_fixed and is_new and not affordable:
                break
            configuration = self._configuration(number, affordable or self.plan.refined_families)
            is_dear = self._is_begun() and self._expected(configuration.family) > _DEAR * self._left()
            if number < n_fixed and is_new and is_dear:
                dear.append((number, configuration))
            else:
                self._try(number, configuration)
        self._try_all(dear)
        return self.outcomes

    def _try_all(self, dear: list[tuple[int, Configuration]]) -> None:
        while dear:
            self._try(*dear.pop(0))

    def _try(self, number: int, configuration: Configuration) -> None:
        outcome = self.finished.get(number)
        if outcome is None:
            if configuration != NAIVE and self._is_begun() and self._expected(configuration.family) > self._left():
                return
            outcome = self.record(number, self._run(configuration))
            tell(number, outcome, metric=self.data.problem.metric, budget_left=self._left())
        self.outcomes[number] = outcome

    def _affordable(self) -> list[str]:
        return [f for f in self.plan.refined_families if self._expected(f) <= self._left()]

    def _configuration(self, number: int, families: Sequence[str]) -> Configuration:
        # With a bound on trials nothing may depend on how far the others are: the same trials on any machine.
        others = self.others() if self.max_trials is None else ()
        own = [
            Tried(number=n, configuration=o.configuration, loss=o.loss if np.isfinite(o.loss) else None)
            for n, o in self.outcomes.items()
        ]
        known = [*own, *(t for t in others if t.number not in self.outcomes)]
        return self.plan.configuration(number, known, families=families)

    def _run(self, configuration: Configuration) -> Outcome:
        started = time.process_time()
        try:
            return run_trial(self.data, configuration, bar=self._bar(), deadline=started + max(self._left(), 0.5))
        # one bad configuration must not end the search: its error stands on the leaderboard
        except Exception as raised:
            # others' errors may quote rows
            text = str(raised) if isinstance(raised, UpdraftError) else "see the task's log"
            _LOG.warning("a trial of %s failed", configuration.family, exc_info=True)
            return Outcome(
                configuration=configuration,
                loss=float("inf"),
                first_loss=float("inf"),
                cpu_seconds=time.process_time() - started,
                first_seconds=time.process_time() - started,
                error=f"{type(raised).__name__}: {text}",
            )

    def _bar(self) -> float | None:
        whole = [o for o in self.outcomes.values() if np.isfinite(o.loss) and o.configuration != NAIVE]
        if not whole or len(self.data.folds) == 1:
            return None
        self._naive = self._naive or run_trial(self.data, NAIVE)
        return bar_for(self._naive, min(whole, key=lambda o: o.loss))

    def _is_begun(self) -> bool:
        return any(o.configuration != NAIVE for o in self.outcomes.values())

    def _left(self) -> float:
        return self.budget.left()

    def _expected(self, family: str) -> float:
        """
        CPU seconds that a trial may take: as the family's earlier ones, or as other families' times what
        is usual.
        """
        done = [o for o in self.outcomes.values() if o.configuration != NAIVE]
        same = [o.first_seconds for o in done if o.configuration.family == family]
        if not same:
            cost = self._relative_cost(family)
            same = [o.first_seconds / self._relative_cost(o.configuration.family) * cost for o in done]
        return float(np.mean(same or [0.0])) * len(self.data.folds)

    def _relative_cost(self, family: str) -> float:
        cost = _RELATIVE_COST.get(family, 1.0)
        # Exact splits cost more with every row, histograms hardly: 12 times boosting's on 45,000 rows.
        return cost * max(1.0, len(self.data.y) / _ROWS_OF_EQUAL_COST) if family in ("forest", "extra_trees") else cost


def tell(number: int, outcome: Outcome, *, metric: str, budget_left: float) -> None:
    """One line in the log."""
    value = outcome.loss if metric in LOWER_IS_BETTER else -outcome.loss
    said = (
        f"{metric} {value:.4f}"
        if np.isfinite(value)
        else f"failed ({outcome.error})"
        if outcome.error
        else "given up early"
    )
    family = outcome.configuration.family
    _LOG.info(
        "trial %d: %s, %s, %.2f CPU-seconds; %.1f s of the budget left",
        number,
        family,
        said,
        outcome.cpu_seconds,
        budget_left,
    )

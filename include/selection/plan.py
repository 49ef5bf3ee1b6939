"""
In which order configurations are tried: those that served last time, the portfolio, then what Bayesian optimisation
suggests.

A trial's number says which worker runs it (`number % n_workers`) and what it tries, so that workers need not talk to
each other: the first numbers are fixed, and a later one follows from the finished trials that its worker knows.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from include.selection.families import NAIVE, REFINED, Configuration, portfolio, search_point, suggest, suits
from include.selection.problem import Problem

_STARTUP_TRIALS = 4  # finished trials before the sampler models anything (J. Bergstra et al., 2011: TPE)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A finished trial as the plan sees it. `loss` is None where it failed or was given up."""

    number: int
    configuration: Configuration
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    What to try on a problem.

    `n_scaled` is the number of columns after scaling and one-hot encoding; `warm` are configurations that did well last
    time, best first. With `boosting_last` the portfolio's other families come first: where there are many classes,
    boosting takes most of a small budget.
    """

    problem: Problem
    families: tuple[str, ...]
    n_rows: int
    n_scaled: int
    warm: tuple[Configuration, ...] = ()
    boosting_last: bool = False

    @property
    def fixed(self) -> tuple[Configuration, ...]:
        """Configurations of the first numbers: the baseline, the warm ones, the portfolio."""
        warm = [c for c in self.warm if c.family in self.families and self._suits(c.family)]
        found = portfolio(self.problem, self.families, n_rows=self.n_rows, n_scaled=self.n_scaled)
        if self.boosting_last:
            found = tuple(sorted(found, key=lambda configuration: configuration.family == "boosting"))
        return (NAIVE, *warm, *(c for c in found if c not in warm))

    @property
    def refined_families(self) -> tuple[str, ...]:
        """Families with a space to search, among those that are allowed and suit the rows."""
        return tuple(family for family in REFINED if family in self.families and self._suits(family))

    def _suits(self, family: str) -> bool:
        return suits(family, n_rows=self.n_rows, n_scaled=self.n_scaled)

    def numbers(self, *, worker: int, n_workers: int, max_trials: int | None) -> Iterable[int]:
        """Numbers of a worker's trials, in order; without `max_trials` they end only where nothing can be refined."""
        end = None if max_trials is None else max_trials + 1
        if not self.refined_families:
            end = len(self.fixed) if end is None else min(end, len(self.fixed))
        number = worker
        while end is None or number < end:
            yield number
            number += n_workers

    def configuration(self, number: int, tried: Sequence[Tried], *, families: Collection[str]) -> Configuration:
        """
        What a number tries, given what its worker knows by then; past the fixed ones of these families,
        at least one.
        """
        fixed = self.fixed
        return fixed[number] if number < len(fixed) else _suggest(self.problem, families, tried, number=number)


def _suggest(problem: Problem, families: Collection[str], tried: Sequence[Tried], *, number: int) -> Configuration:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # The number is in the seed: two workers that know the same trials still try different things.
    seed = (problem.random_state * 7919 + number) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jointly modelled parameters have been experimental for years
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, multivariate=True, group=True)
    study = optuna.create_study(sampler=sampler)
    known = [t for t in sorted(tried, key=lambda t: t.number) if t.configuration.family in families]
    losses = [t.loss for t in known if t.loss is not None]
    for item in known if losses else ():
        study.enqueue_trial(search_point(item.configuration))
        trial = study.ask()
        suggest(trial, families, has_log=problem.has_log)
        study.tell(trial, max(losses) if item.loss is None else item.loss)
    return suggest(study.ask(), families, has_log=problem.has_log)

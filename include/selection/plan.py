"""
In which order configurations are tried: those that served last time, the portfolio, then what Bayesian optimisation
suggests. It also learns from the last search, where that still tells what is good.

A trial's number says which worker runs it (`number % n_workers`) and what it tries, so that workers need not talk to
each other: the first numbers are fixed, and a later one follows from the finished trials that its worker knows.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from include.selection.families import NAIVE, REFINED, Configuration, portfolio, search_point, suggest, suits
from include.selection.problem import FloatArray, Problem

_STARTUP_TRIALS = 4  # finished trials before the sampler models anything (J. Bergstra et al., 2011: TPE)
_N_RETRIED = 4  # of the last search: more would leave a small budget nothing to explore
# The last search counts where it ranks what was tried again as this one does: mostly .5 to .95 on a table that has
# grown, -.6 to .3 from week to week of flights.
_MIN_TRIED_AGAIN, _MIN_RANK_CORRELATION = 5, 0.4


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

    `n_scaled` is the number of columns after scaling and one-hot encoding; `before` are the trials of the last search,
    best first. With `boosting_last` the portfolio's other families come first: where there are many classes,
    boosting takes most of a small budget.
    """

    problem: Problem
    families: tuple[str, ...]
    n_rows: int
    n_scaled: int
    before: tuple[Tried, ...] = ()
    boosting_last: bool = False

    @property
    def fixed(self) -> tuple[Configuration, ...]:
        """Configurations of the first numbers: the baseline, the best of the last search, the portfolio."""
        best = [t.configuration for t in self.before[:_N_RETRIED]]
        warm = [c for c in best if c.family in self.families and self._suits(c.family)]
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
        if number < len(fixed):
            return fixed[number]
        known = [*_still_true(self.before, tried, families), *tried]
        return _suggest(self.problem, families, known, number=number)


def _still_true(before: Sequence[Tried], tried: Sequence[Tried], families: Collection[str]) -> list[Tried]:
    """
    Trials of the last search as if they were of this one: none where the two rank differently, within each family, what
    both have tried.

    Rows differ, and so does the level of the losses: a family's rise by the median of what both have tried of it.
    """
    now = {_key(t.configuration): t.loss for t in tried if t.loss is not None}
    found: list[Tried] = []
    centred = [np.empty((0, 2))]
    for family in families:
        mine = [(t, t.loss) for t in before if t.configuration.family == family and t.loss is not None]
        pairs = np.array([(loss, now[key]) for t, loss in mine if (key := _key(t.configuration)) in now])
        if len(pairs):
            centred.append(pairs - np.median(pairs, axis=0))
            rise = float(np.median(pairs[:, 1] - pairs[:, 0]))
            new = ((t, loss) for t, loss in mine if _key(t.configuration) not in now)
            found += [replace(t, number=-1 - t.number, loss=loss + rise) for t, loss in new]  # before all of this one's
    both = np.concatenate(centred)
    is_alike = len(both) >= _MIN_TRIED_AGAIN and _rank_correlation(both) >= _MIN_RANK_CORRELATION
    return found if is_alike else []


def _key(configuration: Configuration) -> str:
    return json.dumps([configuration.family, dict(configuration.params)], sort_keys=True)


def _rank_correlation(pairs: FloatArray) -> float:
    """Spearman's; 0 where all values of a side are equal."""
    from scipy.stats import spearmanr

    return 0.0 if np.any(np.ptp(pairs, axis=0) == 0) else float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


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

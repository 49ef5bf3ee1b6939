"""What monitoring claims, over simulated months: calm where nothing changes, awake where something does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import ks_2samp

from include.lake.records import MonitoringRecord
from include.modeling.profile import FeatureProfile, profile_values
from include.monitoring.drift import judge_counts
from include.monitoring.retraining import Circumstances, decide_request
from include.workflow import Drift, Monitoring, Workflow
from tests.factories import declare_workflow
from tests.lake.test_verdicts import line
from tests.monitoring.production import AS_OF, Production, promote, promotion

pytestmark = [pytest.mark.claim("monitoring"), pytest.mark.timeout(900)]

Record = Callable[[str, object], None]
N_NUMBERS, N_CATEGORIES, N_TRAINED = 15, 5, 40_000
SHARES = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
NAMES = np.array([f"c{i}" for i in range(100)], dtype=object)  # the last one is never seen in training
TIMES = np.datetime64("2026-01-05T00:00") + (np.arange(N_TRAINED) * 60).astype("timedelta64[s]")
Columns = list[np.ndarray]


def draw(rng: np.random.Generator, n_rows: int) -> Columns:
    """A window of 20 unchanged features: normal, skewed and whole numbers, some missing; categories."""
    numbers = [rng.normal(size=n_rows) if i % 3 else rng.gamma(2.0, 1.0, n_rows) for i in range(N_NUMBERS - 3)]
    whole = [rng.poisson(3, n_rows).astype(float) for _ in range(3)]
    whole[0][rng.random(n_rows) < 0.1] = np.nan
    return [*numbers, *whole, *(np.searchsorted(SHARES.cumsum()[:-1], rng.random(n_rows)) for _ in range(N_CATEGORIES))]


@pytest.fixture(scope="module")
def trained() -> Columns:
    return draw(np.random.default_rng(0), N_TRAINED)


@pytest.fixture(scope="module")
def profiles(trained: Columns) -> list[FeatureProfile]:
    kinds = ["number"] * N_NUMBERS + ["category"] * N_CATEGORIES
    named = [
        values if kind == "number" else NAMES[values.astype(int)] for kind, values in zip(kinds, trained, strict=True)
    ]
    return [
        profile_values(f"f{i}", kind, values, TIMES) for i, (kind, values) in enumerate(zip(kinds, named, strict=True))
    ]


@dataclass
class Watch:
    """A monitor in memory: windows go in, verdicts and requests come out."""

    workflow: Workflow
    profiles: Sequence[FeatureProfile]
    lines: list[MonitoringRecord] = field(default_factory=list)

    def see(self, columns: Columns) -> MonitoringRecord:
        counted = [
            (p, p.count(values) if p.kind == "number" else p.count(NAMES[values.astype(int)]))
            for p, values in zip(self.profiles, columns, strict=True)
        ]
        found = judge_counts(counted, n_rows=len(columns[0]), settings=self.workflow.monitoring.drift, every="day")
        end = AS_OF + timedelta(days=len(self.lines) + 1)
        record = replace(line(1, found.verdict), partition_key=f"{end:%Y-%m-%d}", window_end=end, recorded_at=end)
        around = Circumstances(champion=promotion("1"), published_until=end, now=end)
        self.lines.append(decide_request(self.workflow, record, self.lines, around))
        return self.lines[-1]

    @property
    def n_requests(self) -> int:
        return sum(record.is_requested for record in self.lines)


@pytest.fixture
def watch(tmp_path, profiles) -> Watch:
    return Watch(declare_workflow(tmp_path / "parcels", monitoring=Monitoring(drift=Drift())), profiles)


@pytest.mark.parametrize("n_rows", [100, 100_000])
def test_365_unchanged_windows_ask_for_at_most_one_training(watch: Watch, n_rows: int, record_property: Record) -> None:
    rng = np.random.default_rng(n_rows)
    for _ in range(365):
        watch.see(draw(rng, n_rows))
    alarms = sum(record.verdict != "ok" for record in watch.lines)
    record_property(
        "figure", f"365 unchanged windows of {n_rows:,} rows: {alarms} alarms, {watch.n_requests} trainings asked for"
    )
    assert watch.n_requests <= 1
    assert alarms <= 0.02 * 365


def test_control_a_test_by_p_values_alone_asks_all_year(trained: Columns, record_property: Record) -> None:
    rng, n_asked = np.random.default_rng(1), 0
    for _ in range(365):
        window = draw(rng, 100)
        n_asked += any(
            ks_2samp(old[:2_000], new).pvalue < 0.05 for old, new in zip(trained[:12], window[:12], strict=True)
        )
    record_property(
        "figure", f"control: Kolmogorov-Smirnov at 5 % a feature asks {n_asked} times in 365 unchanged windows"
    )
    assert n_asked > 50


def shift(columns: Columns, rng: np.random.Generator, size: float) -> Columns:
    return [columns[0], columns[1] + size, *columns[2:]]


def widen(columns: Columns, rng: np.random.Generator, size: float) -> Columns:
    return [columns[0], columns[1] * (1 + 1.6 * size), *columns[2:]]


def lose(columns: Columns, rng: np.random.Generator, size: float) -> Columns:
    lost = np.where(rng.random(len(columns[4])) < 0.4 * size, np.nan, columns[4])
    return [*columns[:4], lost, *columns[5:]]


def mix(columns: Columns, rng: np.random.Generator, size: float) -> Columns:
    swapped = np.where(rng.random(len(columns[-1])) < size, 4, columns[-1])
    return [*columns[:-1], swapped]


def bring_new(columns: Columns, rng: np.random.Generator, size: float) -> Columns:
    unseen = np.where(rng.random(len(columns[-2])) < 0.2 * size, 99, columns[-2])
    return [*columns[:-2], unseen, columns[-1]]


CHANGES = (shift, widen, lose, mix, bring_new)


def streams(watch: Watch, size: float, *, n_streams: int, n_rows: int) -> tuple[int, int, int]:
    """
    Streams of up to 45 windows that change at a known one: how many were found, asked too early, and windows of false
    alarm.
    """
    n_found = n_early = n_false = 0
    for number in range(n_streams):
        rng = np.random.default_rng([7, number])
        change, at = CHANGES[number % len(CHANGES)], int(rng.integers(10, 40))
        own = Watch(watch.workflow, watch.profiles)
        for position in range(at + 5):
            window = draw(rng, n_rows)
            own.see(window if position < at else change(window, rng, size))
        asked = [i for i, record in enumerate(own.lines) if record.is_requested]
        n_early += any(i < at for i in asked)
        n_false += sum(record.verdict == "drift" for record in own.lines[:at])
        # Three windows in a row, and two to spare.
        n_found += any(at <= i < at + 5 for i in asked)
    return n_found, n_early, n_false


@pytest.mark.parametrize("n_rows", [500, 5_000])
def test_changes_at_known_points_are_found_and_nothing_else(watch: Watch, n_rows: int, record_property: Record) -> None:
    """The preset: half a spread, a fifth of the values lost, a half mixed over, a tenth never seen before."""
    n_streams = 100 if n_rows == 500 else 50
    found, early, false = streams(watch, 0.5, n_streams=n_streams, n_rows=n_rows)
    record_property(
        "figure",
        f"{n_streams} streams of {n_rows:,} rows a window: {found} changes found in 5 windows, {early} too early, "
        f"{false} false alarms",
    )
    assert found >= 0.9 * n_streams
    assert early <= 0.02 * n_streams


def test_control_changes_below_the_preset_effect_ask_for_nothing(watch: Watch, record_property: Record) -> None:
    found, early, _ = streams(watch, 0.02, n_streams=20, n_rows=5_000)
    record_property("figure", f"control: of 20 changes of a 25th of that size {found} ask for a training")
    assert (found, early) == (0, 0)


def test_control_a_monitor_without_a_bound_on_the_effect_is_asked_by_them(
    watch: Watch, record_property: Record
) -> None:
    eager = watch.workflow.model_copy(
        update={"monitoring": Monitoring(drift=Drift(minimum_effect=1e-6, alpha=0.2, persistence=1))}
    )
    _, early, false = streams(Watch(eager, watch.profiles), 0.05, n_streams=20, n_rows=5_000)
    record_property(
        "figure",
        f"control: without effect size and persistence {early} of 20 streams ask too early, {false} false alarms",
    )
    assert early >= 10


def test_a_production_of_ninety_calm_days_asks_for_at_most_one_training(
    production: Production, record_property: Record
) -> None:
    """The whole way: requests and labels in the lake, a real model, drift and decay, day by day."""
    for number in range(90):
        day = AS_OF + timedelta(days=number)
        rows = production.serve(day, n_rows=200)
        production.publish(day, rows)
        production.judge(day)
    inputs, performance = production.lines("inputs"), production.lines("performance")
    n_requests = sum(record.is_requested for record in (*inputs, *performance))
    n_alarms = sum(record.verdict in ("drift", "decay") for record in (*inputs, *performance))
    record_property(
        "figure",
        f"90 calm days on real tables: {len(inputs)} + {len(performance)} verdicts, {n_alarms} alarms, {n_requests} "
        "trainings asked for",
    )
    assert n_requests <= 1
    assert (len(inputs), len(performance)) == (90, 89)


def test_labels_in_three_instalments_give_one_verdict(production: Production, record_property: Record) -> None:
    day, later = AS_OF, AS_OF + timedelta(days=2)
    eager = production.declared(label_coverage=0.01)
    rows = production.serve(day)
    counts = []
    for share in (0.4, 0.75, 0.9):
        production.publish(day, rows, share=share)
        production.judge(day, now=later)
        counts.append(len(production.lines("performance")))
    record_property("figure", f"labels for 40, 75 and 90 % of a window, 80 % asked for: {counts} verdicts")
    assert counts == [0, 0, 1]
    # The control: who does not wait for the coverage judges the first instalment, and never the others.
    early = replace(
        production, lake=replace(production.lake, uri=production.lake.uri + "-early"), workflow=eager.workflow
    )
    early.serve(day)
    promote(early.lake, early.version)
    early.publish(day, rows, share=0.4)
    early.judge(day, now=later)
    assert [record.n_rows for record in early.lines("performance")] == [300]
    assert early.lines("performance")[0].coverage == pytest.approx(0.4)

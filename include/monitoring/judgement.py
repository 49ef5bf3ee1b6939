"""
Judge a window of production: its inputs, the performance of windows whose labels have come, and whether
to train again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from include.lake.partitions import list_partitions
from include.lake.records import MonitoringRecord
from include.lake.store import Lake, table_exists
from include.lake.verdicts import append_verdict, read_verdicts
from include.monitoring.drift import DriftReport, judge_drift
from include.monitoring.facts import FactsOnce
from include.monitoring.incidents import record_change
from include.monitoring.labels import is_mature, match_labels
from include.monitoring.performance import Performance, judge_performance, metric_of
from include.monitoring.report import SHOWN_WINDOWS, WindowReport, store_report
from include.monitoring.retraining import Circumstances, RetrainRequest, decide_request, read_circumstances, request_of
from include.monitoring.served import ServedRows, build_features, read_served
from include.registry.store import Registry
from include.workflow import Decay, Drift, Workflow
from include.workflow.partitions import PartitionWindow, window_of_key, windows_between

PATIENCE = 7  # times the labels' delay, or windows, if that is longer: after that a window's performance stays unknown
INPUTS, PERFORMANCE = "inputs", "performance"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What passes between tasks: verdicts in words. `request` is the training to ask for; None, if there is none."""

    workflow: str
    partition_key: str
    verdict: str
    reasons: tuple[str, ...]
    performance: tuple[str, ...]
    n_waiting: int
    decision: str
    request: RetrainRequest | None
    report_uri: str


def judge_window(
    workflow: Workflow, partition_key: str, *, lake: Lake, registry: Registry, now: datetime | None = None
) -> Judgement:
    """
    Judge a window of `monitoring.every`, and write verdicts, decision and report down.

    The inputs are judged of this window; the performance, of all windows up to it whose labels have reached the
    declared coverage since. Each gets one line in `ledger/monitoring`; a second run finds the lines, and asks for
    nothing new. What lasts becomes an incident, which somebody is told of.

    Parameters
    ----------
    workflow, partition_key
        Which window.
    lake, registry
        Where predictions, rows, ledger and versions are.
    now : datetime, optional
        The moment of the judgement, aware.

    Raises
    ------
    PartitionError
        If the key is malformed.
    RegistryUnavailableError, ConcurrentWriteError
        What passes by itself: retry.

    """
    moment = now or datetime.now(UTC)
    window = window_of_key(workflow.monitoring.every, partition_key)
    circumstances = read_circumstances(workflow, lake=lake, now=moment)
    look_up = FactsOnce(workflow, lake, registry)
    late, n_waiting = _judge_late(workflow, window, lake=lake, look_up=look_up, circumstances=circumstances)
    served, found = _judge_inputs(workflow, window, lake=lake, look_up=look_up)
    line = _append(
        workflow, _inputs_line(workflow, window, served, found, moment), lake=lake, circumstances=circumstances
    )
    lines = [*late, line]
    asked = next(
        (one for one in lines if one.is_requested and moment - one.recorded_at < workflow.monitoring.cool_down), None
    )
    report = WindowReport(
        workflow=workflow,
        window=window,
        drift=found,
        line=line,
        n_of_others=served.n_of_others,
        history=tuple(_shown_history(workflow, window, lake=lake)),
        request=None if asked is None else request_of(asked),
        n_waiting=n_waiting,
    )
    report_uri = store_report(report, lake=lake)
    record_change(lines, lake=lake, report_uri=report_uri)
    return Judgement(
        workflow=workflow.name,
        partition_key=partition_key,
        verdict=line.verdict,
        reasons=tuple(json.loads(line.reasons)),
        performance=tuple(f"{one.partition_key}: {one.verdict}, {'; '.join(json.loads(one.reasons))}" for one in late),
        n_waiting=n_waiting,
        decision="; ".join(f"{one.subject} of {one.partition_key}: {one.request}" for one in lines if one.request),
        request=None if asked is None else request_of(asked),
        report_uri=report_uri,
    )


def _shown_history(workflow: Workflow, window: PartitionWindow, *, lake: Lake) -> list[MonitoringRecord]:
    end, start = pc.field("window_end"), window.end - SHOWN_WINDOWS * (window.end - window.start)
    return read_verdicts(lake, workflow.name, where=(end > _scalar(start)) & (end <= _scalar(window.end)))


def _judge_inputs(
    workflow: Workflow, window: PartitionWindow, *, lake: Lake, look_up: FactsOnce
) -> tuple[ServedRows, DriftReport]:
    settings = workflow.monitoring.drift or Drift()
    served = read_served(lake, workflow.name, window, minimum_rows=settings.minimum_rows)
    unknown = partial(DriftReport, verdict="unknown", n_rows=served.n_rows)
    if served.model_version is None:
        return served, unknown(reasons=(_missing_traffic(workflow, window, lake=lake),))
    facts = look_up(served.model_version)
    if facts.manifest is None or facts.builder is None:
        return served, unknown(reasons=(facts.trouble,))
    if facts.profile is None:
        said = (
            f"version {served.model_version} has no profile of its training rows (it is older than profiles): train "
            "again"
        )
        return served, unknown(reasons=(said,))
    features, positions = build_features(facts.builder, served.inputs(facts.manifest.input_columns))
    found = judge_drift(
        facts.profile, features, served.scores()[positions], settings=settings, every=workflow.monitoring.every
    )
    n_lost = served.table.num_rows - len(features)
    notes = (f"{n_lost} of {served.table.num_rows} requests cannot be read any more",) if n_lost else ()
    return served, replace(found, reasons=(*found.reasons, *notes))


def _missing_traffic(workflow: Workflow, window: PartitionWindow, *, lake: Lake) -> str:
    table, day = f"{workflow.name}/predictions", window.start.date().isoformat()
    before = [key for key in list_partitions(lake, table) if key <= day] if table_exists(lake, table) else []
    if not before:
        return "nothing was answered in this window, and nothing before it"
    return f"MISSING TRAFFIC: nothing was answered in this window; the last answers before it are of {before[-1]}"


def _judge_late(
    workflow: Workflow, window: PartitionWindow, *, lake: Lake, look_up: FactsOnce, circumstances: Circumstances
) -> tuple[list[MonitoringRecord], int]:
    """Judge the performance of windows that were waiting for labels; the lines, and how many go on waiting."""
    settings = workflow.monitoring.decay
    if settings is None:
        return [], 0
    now = circumstances.now
    waiting = _unjudged(workflow, window, lake=lake, now=now)
    lines = []
    for position, late in enumerate(waiting):
        served = read_served(lake, workflow.name, late, minimum_rows=settings.minimum_rows)
        if served.model_version is None:
            continue
        found = _measure(workflow, late, served, lake=lake, look_up=look_up, now=now, settings=settings)
        is_last_look = position == 0 and late.start <= _earliest(workflow, window)
        if found.verdict == "unknown" and not is_last_look:
            continue
        lines.append(
            _append(
                workflow, _performance_line(workflow, late, served, found, now), lake=lake, circumstances=circumstances
            )
        )
    known = {line.partition_key for line in lines}
    return lines, sum(one.key not in known for one in waiting)


def _unjudged(workflow: Workflow, window: PartitionWindow, *, lake: Lake, now: datetime) -> list[PartitionWindow]:
    """Windows up to this one whose labels have had their time, and which have answers and no verdict on them."""
    table, start = f"{workflow.name}/predictions", _earliest(workflow, window)
    if not table_exists(lake, table):
        return []
    days = set(list_partitions(lake, table))
    where = (pc.field("window_end") > _scalar(start)) & (pc.field("subject") == PERFORMANCE)
    judged = {
        line.partition_key for line in read_verdicts(lake, workflow.name, where=where) if line.verdict != "unknown"
    }
    return [
        one
        for one in windows_between(workflow.monitoring.every, start, window.end)
        if one.key not in judged
        and is_mature(workflow, one, now)
        and any(day.key in days for day in windows_between("day", one.start, one.end))
    ]


def _earliest(workflow: Workflow, window: PartitionWindow) -> datetime:
    length, delay = window.end - window.start, workflow.monitoring.label_delay
    return max(workflow.start, window.start - delay - PATIENCE * max(length, delay))


def _measure(  # noqa: PLR0913 - one window, and where to look what up
    workflow: Workflow,
    window: PartitionWindow,
    served: ServedRows,
    *,
    lake: Lake,
    look_up: FactsOnce,
    now: datetime,
    settings: Decay,
) -> Performance:
    metric = metric_of(workflow, settings)
    facts = look_up(str(served.model_version))
    if facts.manifest is None:
        return Performance(
            verdict="unknown", reason=facts.trouble, metric=metric, n_rows=served.table.num_rows, n_labelled=0
        )
    truth = match_labels(workflow, facts.manifest, served, window=window, lake=lake, now=now)
    found = judge_performance(
        workflow,
        facts.manifest,
        truth.values,
        served.scores(),
        times=served.table["predicted_at"].to_numpy(),
        reference=facts.reference(metric),
        settings=settings,
    )
    return replace(found, reason="; ".join([found.reason, *truth.notes])) if truth.notes else found


def _append(
    workflow: Workflow, line: MonitoringRecord, *, lake: Lake, circumstances: Circumstances
) -> MonitoringRecord:
    def decide(history: Sequence[MonitoringRecord]) -> MonitoringRecord:
        return decide_request(workflow, line, history, circumstances)

    monitoring = workflow.monitoring
    length = window_of_key(monitoring.every, line.partition_key)
    n_windows = 2 * max([s.persistence for s in (monitoring.drift, monitoring.decay) if s is not None], default=1) + 1
    span = max(monitoring.cool_down, n_windows * (length.end - length.start))
    near = (pc.field("window_end") >= _scalar(line.window_end - span)) & (
        pc.field("window_end") <= _scalar(line.window_end + span)
    )
    recent = pc.field("recorded_at") >= _scalar(circumstances.now - monitoring.cool_down)
    return append_verdict(
        lake,
        workflow=workflow.name,
        partition_key=line.partition_key,
        subject=line.subject,
        decide=decide,
        where=near | recent,
    )


def _inputs_line(
    workflow: Workflow, window: PartitionWindow, served: ServedRows, found: DriftReport, now: datetime
) -> MonitoringRecord:
    others = (f"{served.n_of_others} rows of other versions are left out",) if served.n_of_others else ()
    return MonitoringRecord(
        workflow=workflow.name,
        partition_key=window.key,
        window_end=window.end,
        subject=INPUTS,
        verdict=found.verdict,
        reasons=json.dumps([*found.reasons, *others]),
        model_version=served.model_version,
        n_rows=served.n_rows,
        effect=found.effect,
        coverage=None,
        metric=None,
        value=None,
        low=None,
        high=None,
        reference=None,
        is_requested=False,
        request="",
        period_key=None,
        as_of=None,
        recorded_at=now,
    )


def _performance_line(
    workflow: Workflow, window: PartitionWindow, served: ServedRows, found: Performance, now: datetime
) -> MonitoringRecord:
    return MonitoringRecord(
        workflow=workflow.name,
        partition_key=window.key,
        window_end=window.end,
        subject=PERFORMANCE,
        verdict=found.verdict,
        reasons=json.dumps([found.reason]),
        model_version=served.model_version,
        n_rows=served.n_rows,
        effect=None,
        coverage=found.coverage,
        metric=found.metric,
        value=found.value,
        low=found.low,
        high=found.high,
        reference=found.reference,
        is_requested=False,
        request="",
        period_key=None,
        as_of=None,
        recorded_at=now,
    )


def _scalar(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment.astimezone(UTC), pa.timestamp("us", tz="UTC"))

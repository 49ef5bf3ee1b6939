"""Whether a verdict on production asks for a training, and for which: calmly, and with a reason either way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from include.errors import PartitionError
from include.lake.ledger import PromotionRecord, current_champion
from include.lake.published import ends_of_published
from include.lake.records import MonitoringRecord
from include.lake.store import Lake
from include.workflow import Workflow
from include.workflow.durations import describe_duration
from include.workflow.partitions import window_of_moment

ALARMS = frozenset({"drift", "decay"})


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What a decision depends on beside the verdicts: who serves, how far rows are published, and what time it is."""

    champion: PromotionRecord | None
    published_until: datetime | None
    now: datetime


@dataclass(frozen=True, kw_only=True)
class RetrainRequest:
    """A training that is asked for: as of a moment, under the key of the last training period that is over then."""

    period_key: str
    as_of: str
    reason: str
    partition_key: str
    subject: str


def read_circumstances(workflow: Workflow, *, lake: Lake, now: datetime) -> Circumstances:
    """Look up what a decision depends on."""
    ends = ends_of_published(lake, workflow.name, every=workflow.partition.every)
    return Circumstances(
        champion=current_champion(lake, workflow.name),
        published_until=max((end for end in ends if end <= now), default=None),
        now=now,
    )


def decide_request(
    workflow: Workflow, line: MonitoringRecord, history: Sequence[MonitoringRecord], circumstances: Circumstances
) -> MonitoringRecord:
    """
    Say on a verdict's line whether a training is asked for because of it, and why (not).

    Parameters
    ----------
    workflow : Workflow
        Whose production.
    line : MonitoringRecord
        The verdict, not yet appended.
    history : sequence of MonitoringRecord
        Lines of the windows before, and all lines of the last cool-down.
    circumstances : Circumstances
        What else counts.

    """
    if line.verdict not in ALARMS:
        return line
    if refusal := _refusal(workflow, line, history, circumstances):
        return replace(line, is_requested=False, request=f"no training is asked for: {refusal}")
    as_of = _published(circumstances)
    # Of the period that still goes on only the end is known: its partitions' events must not be spent on this training.
    running = window_of_moment(workflow.training.every, as_of)
    period = window_of_moment(workflow.training.every, running.start - timedelta(microseconds=1))
    said = f"a training as of {as_of:%Y-%m-%d %H:%M} is asked for"
    return replace(line, is_requested=True, request=said, period_key=period.key, as_of=as_of)


def request_of(line: MonitoringRecord) -> RetrainRequest | None:
    """Return the request that a line of the ledger made, if it did."""
    if not line.is_requested or line.period_key is None or line.as_of is None:
        return None
    reasons = "; ".join(json.loads(line.reasons)[:3])
    return RetrainRequest(
        period_key=line.period_key,
        as_of=line.as_of.isoformat(),
        reason=f"{line.verdict} in window {line.partition_key}, version {line.model_version}: {reasons}",
        partition_key=line.partition_key,
        subject=line.subject,
    )


def streak(line: MonitoringRecord, history: Sequence[MonitoringRecord], *, wanted: int) -> int:
    """
    Count the windows in a row, this one included, that gave the same alarm about the same version.

    Windows that could not be judged neither count nor break the row, but no row reaches further back than twice as many
    windows.
    """
    before = {
        past.window_end: past
        for past in sorted(history, key=lambda past: (past.window_end, past.verdict != "unknown"))
        if past.subject == line.subject and past.window_end < line.window_end
    }
    n = 1
    for end in sorted(before, reverse=True)[: 2 * wanted]:
        past = before[end]
        if past.verdict == "unknown":
            continue
        if past.verdict != line.verdict or past.model_version != line.model_version:
            break
        n += 1
    return n


def _refusal(
    workflow: Workflow, line: MonitoringRecord, history: Sequence[MonitoringRecord], circumstances: Circumstances
) -> str:
    settings = workflow.monitoring.drift if line.subject == "inputs" else workflow.monitoring.decay
    if settings is None:
        return f"monitoring.{'drift' if line.subject == 'inputs' else 'decay'} is not declared"
    n_alarms = streak(line, history, wanted=settings.persistence)
    if n_alarms < settings.persistence:
        return f"{n_alarms} of {settings.persistence} windows in a row so far"
    champion, now, cool_down = circumstances.champion, circumstances.now, workflow.monitoring.cool_down
    if champion is None or champion.model_version != line.model_version:
        serves = "none" if champion is None else champion.model_version
        return f"version {line.model_version} answered then, the champion is {serves}"
    if line.window_end < now - cool_down:
        return f"the window is over for more than cool_down ({describe_duration(cool_down)})"
    for past in history:
        apart = min(abs(now - past.recorded_at), abs(line.window_end - past.window_end))
        if past.is_requested and apart < cool_down:
            return f"window {past.partition_key} asked already, and cool_down is {describe_duration(cool_down)}"
    if circumstances.published_until is None or circumstances.published_until <= champion.as_of:
        return f"no row was published since the champion was trained (as of {champion.as_of:%Y-%m-%d %H:%M})"
    return ""


def _published(circumstances: Circumstances) -> datetime:
    if circumstances.published_until is None:
        raise PartitionError("no partition is published: there is nothing to train on")
    return circumstances.published_until

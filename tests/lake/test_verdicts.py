"""Verdicts in the ledger: once a window, and of many that would ask for a training at once, one does."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow.compute as pc
import pytest

from include.errors import ConcurrentWriteError
from include.lake import verdicts
from include.lake.records import MonitoringRecord
from include.lake.store import Lake
from include.lake.verdicts import append_verdict, read_verdicts

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ALL = pc.field("workflow") == "parcels"


@pytest.fixture
def lake(tmp_path):
    return Lake(uri=str(tmp_path / "lake"))


def line(day: int, verdict: str = "drift", **changes):
    record = MonitoringRecord(
        workflow="parcels",
        partition_key=f"2026-01-{day:02d}",
        window_end=NOON + timedelta(days=day),
        subject="inputs",
        verdict=verdict,
        reasons="[]",
        model_version="1",
        n_rows=100,
        effect=0.25,
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
        recorded_at=NOON,
    )
    return replace(record, **changes)


def append(lake, record, decide=None):
    return append_verdict(
        lake,
        workflow="parcels",
        partition_key=record.partition_key,
        subject="inputs",
        decide=decide or (lambda _: record),
        where=ALL,
    )


def test_a_verdict_is_kept_as_it_was_appended(lake):
    record = line(5, as_of=NOON, period_key="2026-01-05", effect=None)
    assert append(lake, record) == record
    assert read_verdicts(lake, "parcels") == [record]
    assert read_verdicts(lake, "others") == []


def test_the_first_verdict_on_a_window_stands_and_unknown_does_not(lake):
    assert append(lake, line(5, "unknown")).verdict == "unknown"
    assert append(lake, line(5, "unknown", n_rows=7)).n_rows == 100
    assert append(lake, line(5, "ok")).verdict == "ok"
    assert append(lake, line(5, "drift")).verdict == "ok"
    assert append(lake, line(5, "unknown")).verdict == "ok"
    assert len(read_verdicts(lake, "parcels")) == 2


def test_a_decision_sees_the_lines_before_it_in_the_order_of_windows(lake):
    for day in (7, 5, 6):
        append(lake, line(day))
    seen = []
    append(lake, line(8), decide=lambda history: seen.extend(history) or line(8))
    assert [record.partition_key for record in seen] == ["2026-01-05", "2026-01-06", "2026-01-07"]


def test_of_eight_windows_that_would_ask_at_once_one_asks(lake):
    """
    The control, a decision that was made before the others', would ask eight times: each sees no request
    of anybody.
    """

    def decide(day):
        return lambda history: line(day, is_requested=not any(record.is_requested for record in history))

    barrier, asked = threading.Barrier(8), []

    def judge(day):
        barrier.wait()
        asked.append(append(lake, line(day), decide=decide(day)).is_requested)

    threads = [threading.Thread(target=judge, args=(day,)) for day in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked) == [False] * 7 + [True]
    assert len(read_verdicts(lake, "parcels")) == 8


def test_a_table_that_others_keep_changing_is_told(lake, monkeypatch):
    monkeypatch.setattr(verdicts, "try_append", lambda *_: False)
    monkeypatch.setattr(verdicts, "pause_between_attempts", lambda _: None)
    with pytest.raises(ConcurrentWriteError, match="ledger/monitoring"):
        append(lake, line(5))

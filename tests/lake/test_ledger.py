"""The ledger: appended once, read back as it was, promotions one after another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from include.errors import ConcurrentWriteError, LakeError, StalePromotionError
from include.lake import ledger
from include.lake.ledger import (
    DECISIONS,
    PROMOTIONS,
    RUNS,
    DecisionRecord,
    append_decision,
    append_promotion,
    append_run,
    current_champion,
    latest_decision,
    latest_run,
    read_ledger,
)
from include.lake.store import Lake
from tests.crashes import KILLED
from tests.forks import run_snippet
from tests.lake.workers import promotion, run

MOMENT = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


def decision(**changes: Any) -> DecisionRecord:
    values: dict[str, Any] = {
        "workflow": "parcels",
        "model_version": "3",
        "champion_version": None,
        "as_of": MOMENT,
        "verdict": "PROMOTE",
        "reasons": '["better"]',
        "evidence_digest": "e",
        "evidence_uri": "file",
        "model_digest": "m",
        "decided_at": MOMENT,
        "decided_by": "gate",
    }
    return DecisionRecord(**{**values, **changes})


def test_an_empty_ledger_has_columns_and_no_rows(lake: Lake) -> None:
    for table in (RUNS, DECISIONS, PROMOTIONS):
        assert read_ledger(lake, table).num_rows == 0
        assert "workflow" in read_ledger(lake, table).column_names
    assert (
        latest_run(lake, "parcels", "x")
        is latest_decision(lake, "parcels", "1")
        is current_champion(lake, "parcels")
        is None
    )


def test_a_run_is_recorded_once(lake: Lake) -> None:
    """A retried try has another try id and time, and is the same publication; another run or content is another one."""
    append_run(lake, run())
    append_run(lake, run(try_id="try-2", recorded_at=MOMENT))
    assert read_ledger(lake, RUNS).num_rows == 1
    assert latest_run(lake, "parcels", run().partition_key) == run()
    append_run(lake, run(digest="f" * 64, recorded_at=MOMENT))
    append_run(lake, run(run_id="run-2", recorded_at=MOMENT - timedelta(days=1)))
    assert read_ledger(lake, RUNS, workflow="parcels")["recorded_at"].to_pylist() == [
        run().recorded_at,
        MOMENT - timedelta(days=1),
        MOMENT,
    ]
    assert latest_run(lake, "parcels", run().partition_key) == run(digest="f" * 64, recorded_at=MOMENT)
    assert latest_run(lake, "others", run().partition_key) is None


def test_the_last_line_is_what_was_published_last(lake: Lake) -> None:
    """One run publishes A, then B, then A again: each changed the tables, so each has its line."""
    for number, digest in enumerate(["a" * 64, "b" * 64, "a" * 64]):
        line = run(digest=digest, try_id=f"try-{number}", recorded_at=MOMENT + timedelta(minutes=number))
        append_run(lake, line, is_changed=True)
        append_run(lake, line, is_changed=True)
    assert read_ledger(lake, RUNS).num_rows == 3
    assert latest_run(lake, "parcels", run().partition_key).digest == "a" * 64


def test_parts_of_an_identity_do_not_run_together(folder_lake: Lake) -> None:
    append_run(folder_lake, run(partition_key="a", run_id="bc"))
    append_run(folder_lake, run(partition_key="ab", run_id="c"))
    assert read_ledger(folder_lake, RUNS).num_rows == 2


def test_a_decision_is_recorded_once(lake: Lake) -> None:
    append_decision(lake, decision())
    append_decision(lake, decision(decided_at=MOMENT + timedelta(days=1)))
    append_decision(
        lake,
        decision(evidence_digest="later", verdict="HOLD", champion_version="2", decided_at=MOMENT + timedelta(days=1)),
    )
    assert read_ledger(lake, DECISIONS)["verdict"].to_pylist() == ["PROMOTE", "HOLD"]
    found = latest_decision(lake, "parcels", "3")
    assert found == decision(
        evidence_digest="later", verdict="HOLD", champion_version="2", decided_at=MOMENT + timedelta(days=1)
    )


def test_promotions_follow_one_another(lake: Lake) -> None:
    append_promotion(lake, promotion(epoch=1))
    for epoch in (0, 1, 3):
        with pytest.raises(
            StalePromotionError, match=f"promotion {epoch} of 'parcels' \\(champion\\) does not follow the last one, 1"
        ):
            append_promotion(lake, promotion(epoch=epoch))
    append_promotion(lake, promotion(epoch=2))
    append_promotion(lake, promotion(epoch=1, alias="challenger"))
    append_promotion(lake, promotion(epoch=1, workflow="others"))
    assert read_ledger(lake, PROMOTIONS, workflow="parcels")["epoch"].to_pylist() == [1, 1, 2]
    assert current_champion(lake, "parcels") == promotion(epoch=2)


def test_the_ledger_tells_who_served_when(folder_lake: Lake) -> None:
    days = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 5, 9)]
    append_promotion(folder_lake, promotion(epoch=1, model_version="1", recorded_at=days[0]))
    append_promotion(folder_lake, promotion(epoch=2, model_version="2", recorded_at=days[1]))
    append_promotion(folder_lake, promotion(epoch=3, model_version="1", action="roll_back", recorded_at=days[2]))
    moments = [days[0] - timedelta(seconds=1), days[0], days[1] - timedelta(seconds=1), days[1], days[2]]
    served = [current_champion(folder_lake, "parcels", at=moment) for moment in moments]
    assert [record and record.model_version for record in served] == [None, "1", "1", "2", "1"]


def test_a_month_is_one_of_utc(folder_lake: Lake) -> None:
    local = datetime(2026, 2, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    append_decision(folder_lake, decision(decided_at=local))
    assert ledger.open_table(folder_lake, DECISIONS).partitions() == [{"month": "2026-01"}]
    assert read_ledger(folder_lake, DECISIONS)["decided_at"].to_pylist() == [MOMENT]


def test_a_time_without_a_zone_is_refused(folder_lake: Lake) -> None:
    with pytest.raises(LakeError, match=r"RunRecord.recorded_at=2026-01-06T00:00:00 has no time zone"):
        append_run(folder_lake, run(recorded_at=datetime(2026, 1, 6)))


@pytest.mark.parametrize("crash_at", ["append_ledger.before_commit", "append_ledger.after_commit"])
def test_a_killed_append_is_completed_by_a_rerun(folder_lake: Lake, crash_at: str) -> None:
    snippet = (
        "from include.lake.ledger import append_run; from include.lake.store import Lake; from tests.lake.workers "
        "import run\n"
        "append_run(Lake(uri=arguments), run())"
    )
    assert run_snippet(snippet, arguments=folder_lake.uri, crash_at=crash_at) == KILLED
    assert read_ledger(folder_lake, RUNS).num_rows == (crash_at == "append_ledger.after_commit")
    append_run(folder_lake, run())
    assert read_ledger(folder_lake, RUNS).num_rows == 1


def test_a_ledger_that_is_always_contended_gives_up(folder_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "APPEND_ATTEMPTS", 2)
    monkeypatch.setattr(ledger, "try_append", lambda *_: False)
    with pytest.raises(ConcurrentWriteError, match="'ledger/runs' was changed by others at each of 2 attempts"):
        append_run(folder_lake, run())
    with pytest.raises(ConcurrentWriteError, match="'ledger/promotions' was changed"):
        append_promotion(folder_lake, promotion(epoch=1))

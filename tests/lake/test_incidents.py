"""Incidents: opened once, closed once, a new one afterwards; whoever competes, one wins."""

from __future__ import annotations

import pytest

from include.lake import incidents
from include.lake.incident_events import append_events, event_of, open_chain_table
from include.lake.incidents import Origin, close_incident, last_incident, open_incident, open_incidents, read_incidents
from include.lake.store import Lake
from tests.crashes import KILLED
from tests.forks import run_at_once, run_snippet
from tests.lake.workers import open_and_close

NAME = {"workflow": "parcels", "partition_key": "2026-01-05", "kind": "failed_validation", "subject": "ingest.validate"}


def opened(lake: Lake, **changes: str) -> str:
    return open_incident(
        lake, **{**NAME, **changes}, summary="3 of 9 rows are wrong", counts={"rows_in": 9, "rows_quarantined": 3}
    )


def test_no_table_means_no_incident(lake: Lake) -> None:
    assert open_incidents(lake) == []
    assert not close_incident(lake, **NAME)
    assert last_incident(lake, **NAME) is None


def test_an_incident_is_opened_once_until_it_is_closed(lake: Lake) -> None:
    first = opened(lake)
    assert opened(lake) == first
    assert [i.incident_id for i in open_incidents(lake, workflow="parcels")] == [first]
    assert close_incident(lake, **NAME)
    assert not close_incident(lake, **NAME)
    assert open_incidents(lake) == []
    second = opened(lake)
    assert second != first
    assert [(i.incident_id, i.is_open) for i in read_incidents(lake)] == [(first, False), (second, True)]


def test_an_incident_says_what_was_given(folder_lake: Lake) -> None:
    origin = Origin(dag_id="parcels.ingest", run_id="manual__1", task_id="validate")
    open_incident(folder_lake, **NAME, summary="3 of 9", counts={"rows_in": 9}, origin=origin)
    (found,) = open_incidents(folder_lake)
    assert (found.summary, found.counts, found.origin) == ("3 of 9", {"rows_in": 9}, origin)
    assert (found.workflow, found.partition_key, found.kind, found.subject) == tuple(NAME.values())


def test_names_do_not_run_together(folder_lake: Lake) -> None:
    ids = {
        opened(folder_lake),
        opened(folder_lake, subject="x"),
        opened(folder_lake, partition_key="2026-01-06"),
        opened(folder_lake, kind="k"),
    }
    assert len(ids) == 4
    close_incident(folder_lake, **NAME)
    assert len(open_incidents(folder_lake)) == 3
    assert open_incidents(folder_lake, workflow="others") == []


def test_an_old_state_of_a_chain_appends_nothing(folder_lake: Lake) -> None:
    opened(folder_lake)
    (stale,) = open_incidents(folder_lake)
    close_incident(folder_lake, **NAME)
    assert not append_events(open_chain_table(folder_lake), [event_of(stale, event="closed")])
    delta = open_chain_table(folder_lake)
    opened(folder_lake)  # after the table was opened: only Delta's own check can tell
    (closed, _) = read_incidents(folder_lake)
    assert closed.sequence == 3
    assert not append_events(delta, [event_of(stale, event="closed")])


def test_one_commit_carries_all_chains_or_none(folder_lake: Lake) -> None:
    for key in ("a", "b", "c"):
        opened(folder_lake, partition_key=key)
    seen = open_incidents(folder_lake)
    delta = open_chain_table(folder_lake)
    close_incident(folder_lake, **{**NAME, "partition_key": "b"})
    assert not append_events(delta, [event_of(i, event="closed") for i in seen])
    assert [i.partition_key for i in open_incidents(folder_lake)] == ["a", "c"]
    assert append_events(
        open_chain_table(folder_lake), [event_of(i, event="closed") for i in open_incidents(folder_lake)]
    )
    assert open_incidents(folder_lake) == []


@pytest.mark.claim("races")
def test_of_four_processes_each_incident_has_one_opener(folder_lake: Lake) -> None:
    """
    Each process opens and closes the same incidents; the events of each chain alternate, and their
    numbers have no gap.
    """
    ids = run_at_once(open_and_close, [{"uri": folder_lake.uri, "rounds": 4, "n_names": 3}] * 4)
    found = read_incidents(folder_lake)
    assert {i for process in ids for i in process} == {i.incident_id for i in found}
    for subject in ("name-0", "name-1", "name-2"):
        chain = [i for i in found if i.subject == subject]
        assert chain[-1].sequence == 2 * len(chain)
        assert all(not i.is_open for i in chain)


@pytest.mark.parametrize("crash_at", ["incident_opened.before_commit", "incident_opened.after_commit"])
def test_a_killed_opening_is_completed_by_a_rerun(folder_lake: Lake, crash_at: str) -> None:
    snippet = (
        "from include.lake.incidents import open_incident; from include.lake.store import Lake\n"
        "open_incident(Lake(uri=arguments[0]), **arguments[1], summary='s', counts={})"
    )
    assert run_snippet(snippet, arguments=[folder_lake.uri, NAME], crash_at=crash_at) == KILLED
    assert len(read_incidents(folder_lake)) == (crash_at == "incident_opened.after_commit")
    opened(folder_lake)
    assert len(read_incidents(folder_lake)) == 1


def test_a_table_that_is_always_contended_gives_up(folder_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(folder_lake)
    monkeypatch.setattr(incidents, "APPEND_ATTEMPTS", 2)
    monkeypatch.setattr(incidents, "append_events", lambda *_: False)
    with pytest.raises(
        incidents.ConcurrentWriteError, match="'ledger/incidents' was changed by others at each of 2 attempts"
    ):
        opened(folder_lake, subject="another")
    with pytest.raises(incidents.ConcurrentWriteError):
        close_incident(folder_lake, **NAME)

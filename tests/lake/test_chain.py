"""The ledger's chains: whatever is done to a line of decisions or promotions is noticed, and named."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from include.errors import EvidenceError
from include.lake.chain import digest_of_record, find_faults, link
from include.lake.ledger import (
    DECISIONS,
    PROMOTIONS,
    DecisionRecord,
    append_decision,
    append_promotion,
    chain_faults,
    latest_decision,
    read_ledger,
    require_intact,
)
from include.lake.maintenance import maintain_ledger
from include.lake.records import record_row
from include.lake.store import TABLE_CONFIGURATION, Lake, open_table
from tests.lake.test_ledger import MOMENT, decision
from tests.lake.workers import promotion

KEY = "a key of the tests, of thirty-two bytes or more"
CHAIN_COLUMNS = ["is_backfilled", "sequence", "previous_digest", "record_digest", "signature"]


def fill(lake: Lake, n_lines: int = 4) -> None:
    for number in range(1, n_lines + 1):
        append_decision(lake, decision(model_version=str(number), evidence_digest=f"e{number}", verdict="HOLD"))


def table(lake: Lake) -> DeltaTable:
    """The decisions, as somebody opens them who can write the lake."""
    return open_table(lake, DECISIONS)


def change(lake: Lake) -> None:
    table(lake).update(predicate="sequence = 2", updates={"verdict": "'PROMOTE'"})


def remove(lake: Lake) -> None:
    table(lake).delete("sequence = 2")


def remove_the_last(lake: Lake) -> None:
    table(lake).delete("sequence = 4")


def swap(lake: Lake) -> None:
    table(lake).update(predicate="sequence in (2, 3)", updates={"sequence": "5 - sequence"})


def insert(lake: Lake) -> None:
    """A line that no append of ours wrote, whole in itself."""
    forged = link(replace(decision(model_version="9"), sequence=5, previous_digest=digest_of_line(lake, 4)), key=None)
    write_deltalake(table(lake), record_row(forged), mode="append")


def insert_unlinked(lake: Lake) -> None:
    write_deltalake(table(lake), record_row(decision(model_version="9")), mode="append")


def change_with_digest(lake: Lake) -> None:
    """Who knows how digests are made still breaks the link after it."""
    row = replace(lines(lake)[1], verdict="PROMOTE")
    table(lake).update(
        predicate="sequence = 2", updates={"verdict": "'PROMOTE'", "record_digest": f"'{digest_of_record(row)}'"}
    )


def lines(lake: Lake) -> list[DecisionRecord]:
    rows = read_ledger(lake, DECISIONS).sort_by("sequence").to_pylist()
    return [DecisionRecord(**row) for row in rows]


def digest_of_line(lake: Lake, number: int) -> str:
    return str(lines(lake)[number - 1].record_digest)


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (change, r"line 2 \(version 2, PROMOTE\) was changed after it was written"),
        (remove, "line 2 is missing"),
        (remove_the_last, "line 4 is missing"),
        (swap, r"line 2 \(version 3, HOLD\) was changed"),
        (insert, "line 5 was never appended"),
        (insert_unlinked, "the 1 lines without a link are not those from before the chain"),
        (change_with_digest, r"line 3 \(version 3, HOLD\) does not follow the line before it"),
    ],
)
def test_a_line_that_is_not_as_it_was_is_named(folder_lake: Lake, tamper: Callable[[Lake], None], told: str) -> None:
    fill(folder_lake)
    require_intact(folder_lake, DECISIONS, "parcels")  # the control: untouched, it passes
    tamper(folder_lake)
    with pytest.raises(EvidenceError, match=rf"'ledger/decisions' of 'parcels' is not as it was written: .*{told}"):
        require_intact(folder_lake, DECISIONS, "parcels")


def test_restoring_the_version_before_mends_it_as_the_message_says(folder_lake: Lake) -> None:
    fill(folder_lake)
    before = table(folder_lake).version()
    for tamper in (change, remove_the_last):
        tamper(folder_lake)
        assert chain_faults(folder_lake, DECISIONS, "parcels") != []
        table(folder_lake).restore(before)
        require_intact(folder_lake, DECISIONS, "parcels")
    append_decision(folder_lake, decision(model_version="5", evidence_digest="e5"))
    require_intact(folder_lake, DECISIONS, "parcels")


def test_a_chain_that_was_written_anew_is_noticed_by_its_signatures(folder_lake: Lake) -> None:
    """Somebody rewrites a line and all after it: without a key nobody can tell, and with one nobody can do it."""
    for key, faults in (
        (None, []),
        (KEY, [f"line {n} (version {n}, {v}) is not signed with this key" for n, v in enumerate(NEW, 1)]),
    ):
        lake = Lake(uri=f"{folder_lake.uri}/{'signed' if key else 'plain'}", evidence_key=key)
        fill(lake)
        rewrite(lake)
        assert chain_faults(lake, DECISIONS, "parcels") == [fault for fault in faults if "line 1" not in fault]


NEW = ("HOLD", "PROMOTE", "HOLD", "HOLD")


def rewrite(lake: Lake) -> None:
    found = lines(lake)
    for number in range(1, 4):
        record = replace(found[number], verdict=NEW[number], previous_digest=found[number - 1].record_digest)
        signed = link(record, key="another key than that of the house, as long")
        found[number] = signed if lake.evidence_key else replace(signed, signature=None)
    rows = pa.concat_tables([record_row(record) for record in found])
    write_deltalake(table(lake), rows, mode="overwrite")


def test_signatures_count_from_the_first_one_on(folder_lake: Lake) -> None:
    fill(folder_lake, 2)
    signed = replace(folder_lake, evidence_key=KEY)
    append_decision(signed, decision(model_version="3", evidence_digest="e3"))
    assert chain_faults(signed, DECISIONS, "parcels") == []
    append_decision(folder_lake, decision(model_version="4", evidence_digest="e4"))
    assert chain_faults(signed, DECISIONS, "parcels") == ["line 4 (version 4, PROMOTE) is not signed with this key"]
    assert chain_faults(replace(signed, evidence_key=KEY + "!"), DECISIONS, "parcels") != []


def test_workflows_and_tables_have_chains_of_their_own(folder_lake: Lake) -> None:
    fill(folder_lake, 2)
    append_decision(folder_lake, decision(workflow="others"))
    append_promotion(folder_lake, promotion(epoch=1))
    append_promotion(folder_lake, promotion(epoch=1, alias="challenger"))
    assert [line.sequence for line in lines(folder_lake) if line.workflow == "others"] == [1]
    assert read_ledger(folder_lake, PROMOTIONS)["sequence"].to_pylist() == [2, 1]  # in the order of alias
    open_table(folder_lake, PROMOTIONS).update(predicate="sequence = 1", updates={"model_version": "'7'"})
    assert chain_faults(folder_lake, PROMOTIONS, "parcels") == [
        "line 1 (version 7, promote) was changed after it was written"
    ]
    assert chain_faults(folder_lake, DECISIONS, "parcels") == chain_faults(folder_lake, DECISIONS, "others") == []
    assert chain_faults(Lake(uri=f"{folder_lake.uri}/empty"), DECISIONS, "parcels") == []


def make_old_lake(lake: Lake) -> None:
    """A ledger as it was written before there were chains: without their columns."""
    row = record_row(decision(model_version="0", evidence_digest="e0")).drop_columns(CHAIN_COLUMNS)
    Path(f"{lake.uri}/{DECISIONS}").mkdir(parents=True)
    uri = f"{lake.uri}/{DECISIONS}"
    write_deltalake(uri, row, mode="append", partition_by=["month"], configuration=TABLE_CONFIGURATION)


def test_an_older_lake_goes_on_and_its_lines_are_covered_from_then_on(folder_lake: Lake) -> None:
    make_old_lake(folder_lake)
    assert latest_decision(folder_lake, "parcels", "0") == decision(model_version="0", evidence_digest="e0")
    require_intact(folder_lake, DECISIONS, "parcels")
    fill(folder_lake, 2)
    require_intact(folder_lake, DECISIONS, "parcels")
    assert [line.sequence for line in sorted(lines(folder_lake), key=lambda line: line.sequence or 0)] == [None, 1, 2]
    table(folder_lake).update(predicate="model_version = '0'", updates={"verdict": "'REJECT'"})
    with pytest.raises(EvidenceError, match="the 1 lines without a link are not those from before the chain"):
        require_intact(folder_lake, DECISIONS, "parcels")


def test_maintenance_leaves_a_chain_as_it_is(folder_lake: Lake) -> None:
    make_old_lake(folder_lake)
    fill(folder_lake, 5)
    reports = maintain_ledger(folder_lake, now=datetime(2036, 1, 1, tzinfo=UTC))
    assert reports[0].n_merged > 3
    require_intact(folder_lake, DECISIONS, "parcels")
    append_decision(folder_lake, decision(model_version="6", evidence_digest="e6"))
    require_intact(folder_lake, DECISIONS, "parcels")


def test_nothing_follows_a_link_that_is_gone(folder_lake: Lake) -> None:
    fill(folder_lake)
    remove_the_last(folder_lake)
    with pytest.raises(
        EvidenceError, match="line 4 of 'parcels' in 'ledger/decisions' is gone, so nothing can follow it"
    ):
        append_decision(folder_lake, decision(model_version="5", evidence_digest="e5"))


@pytest.mark.claim("races")
def test_writers_at_once_do_not_fork_a_chain(lake: Lake) -> None:
    """Eight threads, each with decisions of its own, on both kinds of lake."""
    barrier, errors = threading.Barrier(8), []

    def write(worker: int) -> None:
        barrier.wait()
        for number in range(2):
            try:
                append_decision(lake, decision(model_version=f"{worker}{number}", evidence_digest=f"{worker}-{number}"))
            except Exception as error:  # told below
                errors.append(error)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(line.sequence or 0 for line in lines(lake)) == list(range(1, 17))
    require_intact(lake, DECISIONS, "parcels")


def test_a_field_that_records_gain_later_changes_no_digest() -> None:
    values: dict[str, Any] = {"decided_at": MOMENT}
    assert digest_of_record(decision(**values)) == digest_of_record(decision(**values, is_backfilled=None))
    assert digest_of_record(decision(**values)) != digest_of_record(decision(**values, is_backfilled=False))
    assert find_faults([decision()], n_links=0, key=KEY) == []

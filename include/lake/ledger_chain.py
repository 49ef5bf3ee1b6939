"""The chains of decisions and promotions in the ledger's tables: continue them, and check them."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from include.errors import EvidenceError
from include.lake.chain import START, LinkedRecord, digest_of_lines, find_faults, link
from include.lake.records import (
    MONTH_COLUMN,
    DecisionRecord,
    MonitoringRecord,
    PromotionRecord,
    Record,
    RunRecord,
    record_schema,
)
from include.lake.store import Lake, native_filesystem, open_table, table_exists

RUNS, DECISIONS, PROMOTIONS = "ledger/runs", "ledger/decisions", "ledger/promotions"
MONITORING = "ledger/monitoring"
LINKED_TYPES: dict[str, type[LinkedRecord]] = {DECISIONS: DecisionRecord, PROMOTIONS: PromotionRecord}
RECORD_TYPES: dict[str, type[Record]] = {RUNS: RunRecord, MONITORING: MonitoringRecord, **LINKED_TYPES}


def require_intact(lake: Lake, table: str, workflow: str) -> None:
    """
    Refuse to build on a chain in which a line was changed, removed or re-ordered.

    Raises
    ------
    EvidenceError
        Naming the first lines concerned.

    """
    faults = chain_faults(lake, table, workflow)
    if faults:
        raise EvidenceError(
            f"{table!r} of {workflow!r} is not as it was written: {'; '.join(faults[:3])}. Nothing is promoted on it: "
            "restore the table from its version before, or from a backup, and look who can write the lake's files"
        )


def chain_faults(lake: Lake, table: str, workflow: str) -> list[str]:
    """
    What is wrong with a workflow's chain of decisions or promotions, in sentences; nothing, where every line is as it
    was appended.
    """
    if not table_exists(lake, table):
        return []
    delta = open_table(lake, table)
    return find_faults(
        _records(lake, table, delta, workflow),
        n_links=delta.transaction_version(chain_id(workflow)) or 0,
        key=lake.evidence_key,
    )


def chain_head(lake: Lake, table: str, workflow: str) -> tuple[int, str] | None:
    """
    Number and digest of a workflow's last link; None, if there is none. Who keeps them would notice a chain that is
    written anew.
    """
    n_links = (
        0 if not table_exists(lake, table) else open_table(lake, table).transaction_version(chain_id(workflow)) or 0
    )
    digest = digest_of_link(lake, table, workflow, n_links) if n_links else None
    return None if digest is None else (n_links, digest)


def digest_of_link(lake: Lake, table: str, workflow: str, number: int) -> str | None:
    """Digest of one link, as its line tells it; None, if there is no such line."""
    if not table_exists(lake, table):
        return None
    condition = (pc.field("workflow") == workflow) & (pc.field("sequence") == number)
    found = ledger_rows(lake, table, open_table(lake, table), condition)["record_digest"].to_pylist()
    return None if len(found) != 1 else str(found[0])


def next_link(lake: Lake, table: str, delta: DeltaTable, record: LinkedRecord) -> LinkedRecord:
    """
    Return the record as the next link of its workflow's chain, which is read from the opened version of the table.

    Raises
    ------
    EvidenceError
        If the link that it would continue is gone from the table.

    """
    of_workflow, n_links = (
        pc.field("workflow") == record.workflow,
        delta.transaction_version(chain_id(record.workflow)) or 0,
    )
    if n_links:
        found = ledger_rows(lake, table, delta, of_workflow & (pc.field("sequence") == n_links))[
            "record_digest"
        ].to_pylist()
        if len(found) != 1:
            seen = "there twice" if found else "gone"
            raise EvidenceError(
                f"line {n_links} of {record.workflow!r} in {table!r} is {seen}, so nothing can follow it: restore the "
                "table from its version before, or from a backup"
            )
        previous = found[0]
    else:
        older = _records(lake, table, delta, record.workflow)
        previous = digest_of_lines(older) if older else START
    record = replace(record, sequence=n_links + 1, previous_digest=previous, record_digest=None, signature=None)
    return link(record, key=lake.evidence_key)


def chain_id(workflow: str) -> str:
    """Name of the Delta transaction that every link of a workflow takes part in."""
    return f"chain:{workflow}"


def ledger_rows(lake: Lake, table: str, delta: DeltaTable, condition: pc.Expression | None) -> pa.Table:
    """
    Lines of an opened version of a table that meet a condition, in no order; a column that is not there
    yet is null.
    """
    schema = record_schema(RECORD_TYPES[table])
    dataset = delta.to_pyarrow_dataset(filesystem=native_filesystem(lake, table), schema=schema)
    return dataset.to_table(columns=[name for name in schema.names if name != MONTH_COLUMN], filter=condition)


def _records(lake: Lake, table: str, delta: DeltaTable, workflow: str) -> list[LinkedRecord]:
    return [
        LINKED_TYPES[table](**row)
        for row in ledger_rows(lake, table, delta, pc.field("workflow") == workflow).to_pylist()
    ]

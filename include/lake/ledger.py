"""
The ledger: append-only Delta tables of what was published, decided and promoted.

Each append names a Delta transaction: one of its own (`run:<digest>`, `decision:<digest>`), or one shared by all that
compete (`promotion:<workflow>:<alias>`). Of two commits of one name from the same state Delta refuses the second: that
makes an append idempotent, and a promotion a compare-and-set.

Decisions and promotions are chained (see `include.lake.chain`): their appends name a second transaction,
`chain:<workflow>`, whose version is the number of the workflow's last link. So two writers never continue the same
link.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import and_

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from include.errors import ConcurrentWriteError, StalePromotionError
from include.lake.crash_points import crash_point
from include.lake.digests import digest_bytes
from include.lake.ledger_chain import (
    DECISIONS,
    MONITORING,
    PROMOTIONS,
    RECORD_TYPES,
    RUNS,
    chain_faults,
    chain_id,
    ledger_rows,
    next_link,
    require_intact,
)
from include.lake.records import (
    MONTH_COLUMN,
    DecisionRecord,
    PromotionRecord,
    Record,
    RunRecord,
    record_of_row,
    record_row,
    record_schema,
)
from include.lake.store import Lake, open_or_create_table, open_table, table_exists

__all__ = [
    "DECISIONS",
    "MONITORING",
    "PROMOTIONS",
    "RUNS",
    "DecisionRecord",
    "PromotionRecord",
    "RunRecord",
    "append_decision",
    "append_promotion",
    "append_run",
    "append_stop",
    "chain_faults",
    "current_champion",
    "latest_decision",
    "latest_run",
    "read_ledger",
    "require_intact",
]

CHAMPION = "champion"
APPEND_ATTEMPTS = 20
# Other lines' commits are no conflict, only a reason to take the next version number.
MAX_COMMIT_RETRIES = 100


def append_run(lake: Lake, record: RunRecord, *, is_changed: bool = False) -> None:
    """
    Append a publication; a retried try that changes nothing (`is_changed` False), and whose line is the last one,
    appends no further line.

    A try that changed the tables always appends: where one run publishes A, then B, then A again, the last line has to
    say A.
    """
    if not is_changed:
        last = latest_run(lake, record.workflow, record.partition_key)
        if last is not None and _outcome(last) == _outcome(record):
            return
    identity = (record.workflow, record.partition_key, record.run_id, record.digest, record.try_id)
    _append_once(lake, RUNS, record, app_id=transaction_name("run", *identity))


def append_stop(lake: Lake, record: RunRecord) -> None:
    """
    Append that a partition was stopped, once per try: what was published of it before stands, and so
    does its line.
    """
    _append_once(
        lake,
        RUNS,
        record,
        app_id=transaction_name("stop", record.workflow, record.partition_key, record.run_id, record.try_id),
    )


def _outcome(record: RunRecord) -> tuple[str | int, ...]:
    counts = (record.rows_in, record.rows_published, record.rows_quarantined, record.rows_duplicate)
    return (record.run_id, record.digest, *counts)


def append_decision(lake: Lake, record: DecisionRecord) -> None:
    """
    Append a verdict, once per (workflow, model_version, evidence_digest).

    Raises
    ------
    EvidenceError
        If the link that it would continue is gone from the table.
    ConcurrentWriteError
        If the table stayed contended.

    """
    name = transaction_name("decision", record.workflow, record.model_version, record.evidence_digest)
    _append_once(lake, DECISIONS, record, app_id=name)


def append_promotion(lake: Lake, record: PromotionRecord) -> None:
    """
    Append a promotion, if it is the next one of its workflow and alias.

    Raises
    ------
    StalePromotionError
        If `record.epoch` is not the last epoch + 1: another promotion came first, or the caller has skipped one.
    EvidenceError
        If the link that it would continue is gone from the table.
    ConcurrentWriteError
        If the table stayed contended.

    """
    app_id = f"promotion:{record.workflow}:{record.alias}"
    for attempt in range(APPEND_ATTEMPTS):
        delta = open_ledger_table(lake, PROMOTIONS)
        last = delta.transaction_version(app_id) or 0
        if record.epoch != last + 1:
            raise StalePromotionError(
                f"promotion {record.epoch} of {record.workflow!r} ({record.alias}) does not follow the last one, "
                f"{last}: read the ledger again and decide anew"
            )
        if try_append(lake, PROMOTIONS, delta, record, [Transaction(app_id, record.epoch)]):
            return
        pause_between_attempts(attempt)
    raise contended(PROMOTIONS)


def read_ledger(
    lake: Lake, table: str, *, workflow: str | None = None, where: pc.Expression | None = None, with_stops: bool = False
) -> pa.Table:
    """
    Read a table of the ledger, or those of its lines that meet a condition: files that hold none, by the log's minima,
    are not opened.

    Of `ledger/runs` it returns what was published; `with_stops` also what was stopped.

    Returns
    -------
    Table
        The record's fields, in the order of time (promotions: of alias and epoch). Of no rows, if nothing was ever
        recorded.

    """
    if not table_exists(lake, table):
        schema = record_schema(RECORD_TYPES[table])
        return schema.empty_table().select([name for name in schema.names if name != MONTH_COLUMN])
    conditions = [] if workflow is None else [pc.field("workflow") == workflow]
    conditions += [] if where is None else [where]
    rows = ledger_rows(lake, table, open_table(lake, table), reduce(and_, conditions) if conditions else None)
    if table == RUNS and not with_stops:
        rows = rows.filter(pc.not_equal(pc.fill_null(rows["status"], "published"), "stopped"))
    order = {
        RUNS: ["recorded_at"],
        MONITORING: ["window_end", "recorded_at"],
        DECISIONS: ["decided_at"],
        PROMOTIONS: ["workflow", "alias", "epoch"],
    }[table]
    return rows.sort_by([(name, "ascending") for name in order])


def latest_run(lake: Lake, workflow: str, partition_key: str) -> RunRecord | None:
    """Return the last publication of a partition, if there is one."""
    row = _last(read_ledger(lake, RUNS, workflow=workflow, where=pc.field("partition_key") == partition_key))
    return None if row is None else record_of_row(RunRecord, row)


def latest_decision(lake: Lake, workflow: str, model_version: str) -> DecisionRecord | None:
    """Return the last verdict on a model version, if there is one."""
    row = _last(read_ledger(lake, DECISIONS, workflow=workflow, where=pc.field("model_version") == model_version))
    return None if row is None else record_of_row(DecisionRecord, row)


def current_champion(lake: Lake, workflow: str, *, at: datetime | None = None) -> PromotionRecord | None:
    """Return the promotion that made the champion; with `at`, the one in force at that moment."""
    is_champion = pc.field("alias") == CHAMPION
    condition = (
        is_champion
        if at is None
        else is_champion & (pc.field("recorded_at") <= pa.scalar(at, pa.timestamp("us", tz="UTC")))
    )
    row = _last(read_ledger(lake, PROMOTIONS, workflow=workflow, where=condition))
    return None if row is None else record_of_row(PromotionRecord, row)


def _append_once(lake: Lake, table: str, record: Record, *, app_id: str) -> None:
    for attempt in range(APPEND_ATTEMPTS):
        delta = open_ledger_table(lake, table)
        if delta.transaction_version(app_id) is not None or try_append(
            lake, table, delta, record, [Transaction(app_id, 1)]
        ):
            return
        pause_between_attempts(attempt)
    raise contended(table)


def open_ledger_table(lake: Lake, table: str) -> DeltaTable:
    """Open a table of the ledger, which is created if there is none."""
    return open_or_create_table(lake, table, record_schema(RECORD_TYPES[table]), partition_by=MONTH_COLUMN)


def try_append(lake: Lake, table: str, delta: DeltaTable, record: Record, transactions: Sequence[Transaction]) -> bool:
    """
    Append a line to an opened version of a table, under transactions of these names; False if one of them was taken
    since.
    """
    transactions = [*transactions]
    if isinstance(record, DecisionRecord | PromotionRecord):
        record = next_link(lake, table, delta, record)
        transactions.append(Transaction(chain_id(record.workflow), record.sequence))
    row = record_row(record)
    # A table from before a column was there gets it with the first line that has it.
    is_narrower = not set(row.schema.names) <= {column.name for column in delta.schema().fields}
    crash_point("append_ledger.before_commit")
    properties = CommitProperties(app_transactions=transactions, max_commit_retries=MAX_COMMIT_RETRIES)
    try:
        write_deltalake(
            delta, row, mode="append", schema_mode="merge" if is_narrower else None, commit_properties=properties
        )
    except CommitFailedError:
        # Somebody's commit of the same name came between: the caller looks again.
        return False
    crash_point("append_ledger.after_commit")
    return True


def transaction_name(kind: str, *parts: str) -> str:
    """Name of the Delta transaction by which an append happens once."""
    return f"{kind}:{digest_bytes(json.dumps(parts).encode())[:32]}"


def pause_between_attempts(attempt: int) -> None:
    """Wait a little, a random while that grows: competitors drift apart."""
    time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))


def contended(table: str) -> ConcurrentWriteError:
    """Error of a table that others kept changing."""
    return ConcurrentWriteError(f"{table!r} was changed by others at each of {APPEND_ATTEMPTS} attempts: run again")


def _last(rows: pa.Table) -> dict[str, object] | None:
    return rows.slice(rows.num_rows - 1).to_pylist()[0] if rows.num_rows else None

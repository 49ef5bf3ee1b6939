"""
The ledger's verdicts on production: one line a window and subject, and never two requests for a training at once.

What asks for a training names a second transaction, `retrain:<workflow>`, whose version counts the requests. So of two
windows that are judged at the same time one asks, and the other sees that when it decides anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow.compute as pc
from deltalake import Transaction

from include.lake.ledger import (
    APPEND_ATTEMPTS,
    MONITORING,
    contended,
    open_ledger_table,
    pause_between_attempts,
    read_ledger,
    transaction_name,
    try_append,
)
from include.lake.ledger_chain import ledger_rows
from include.lake.records import MonitoringRecord, record_of_row
from include.lake.store import Lake

UNKNOWN = "unknown"
Decide = Callable[[Sequence[MonitoringRecord]], MonitoringRecord]


def append_verdict(
    lake: Lake, *, workflow: str, partition_key: str, subject: str, decide: Decide, where: pc.Expression
) -> MonitoringRecord:
    """
    Append the verdict on one window, unless there is one; "unknown" may be followed by a verdict, once.

    Parameters
    ----------
    lake, workflow, partition_key, subject
        Whose verdict on what.
    decide : function
        From the lines so far, in the order of windows, to the line to append. It is called again if others append
        meanwhile.
    where : Expression
        Which lines it has to see, beside those of this window.

    Returns
    -------
    MonitoringRecord
        The line that stands: an earlier one, if there is one.

    Raises
    ------
    ConcurrentWriteError
        If the table stayed contended.

    """
    seen = where | (pc.field("partition_key") == partition_key)
    for attempt in range(APPEND_ATTEMPTS):
        delta = open_ledger_table(lake, MONITORING)
        found = ledger_rows(lake, MONITORING, delta, (pc.field("workflow") == workflow) & seen)
        lines = [record_of_row(MonitoringRecord, row) for row in found.to_pylist()]
        lines.sort(key=lambda line: (line.window_end, line.recorded_at))
        own = {
            line.verdict == UNKNOWN: line
            for line in lines
            if (line.partition_key, line.subject) == (partition_key, subject)
        }
        if False in own:
            return own[False]
        record = decide(lines)
        if record.verdict == UNKNOWN and True in own:
            return own[True]
        certainty = UNKNOWN if record.verdict == UNKNOWN else "known"
        transactions = [Transaction(transaction_name("verdict", workflow, partition_key, subject, certainty), 1)]
        if record.is_requested:
            counter = f"retrain:{workflow}"
            transactions.append(Transaction(counter, (delta.transaction_version(counter) or 0) + 1))
        if try_append(lake, MONITORING, delta, record, transactions):
            return record
        pause_between_attempts(attempt)
    raise contended(MONITORING)


def read_verdicts(lake: Lake, workflow: str, *, where: pc.Expression | None = None) -> list[MonitoringRecord]:
    """Return a workflow's verdicts in the order of windows; of a window that was unknown first, both lines."""
    found = read_ledger(lake, MONITORING, workflow=workflow, where=where)
    return [record_of_row(MonitoringRecord, row) for row in found.to_pylist()]

"""
`ledger/erasures`: who was erased, and with what proof; so it also says whose answers must never come in again.

A respondent stands there as the digest of the pseudonym: whoever holds the pseudonym can tell, nobody can read it from
there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.lake.landing import append_batch
from include.lake.store import Lake, native_filesystem, open_table, table_exists

ERASURES = "ledger/erasures"
REQUESTED, ERASED = "requested", "erased"
SCHEMA = pa.schema(
    [
        ("workflow", pa.string()),
        ("pseudonym_digest", pa.string()),
        ("action", pa.string()),
        ("rows_before", pa.string()),  # JSON: rows by table
        ("rows_after", pa.string()),
        ("files_removed", pa.int64()),
        ("files_scanned", pa.int64()),
        ("models", pa.string()),  # JSON: a list of versions
        ("models_unknown", pa.string()),
        ("recorded_at", pa.timestamp("us", tz="UTC")),
    ]
)


def record_request(lake: Lake, workflow: str, digest: str, *, now: datetime) -> None:
    """Write down, once, that a respondent is to be erased: from here on no answer of theirs comes in."""
    _append(
        lake,
        {"workflow": workflow, "pseudonym_digest": digest, "action": REQUESTED},
        now=now,
        name=f"{workflow} {digest} requested",
    )


@dataclass(frozen=True, kw_only=True)
class ErasureProof:
    """
    What an erasure found and left, in rows by table, and what it read afterwards without finding anything.

    `files_removed` and `files_scanned` count files, also those of old versions. `models` are the versions that were
    trained or judged on the respondent; of `models_unknown` it could not be told, for their rows had gone before.
    """

    workflow: str
    pseudonym_digest: str
    rows_before: dict[str, int]
    rows_after: dict[str, int]
    files_removed: int
    files_scanned: int
    models: tuple[str, ...]
    models_unknown: tuple[str, ...]
    recorded_at: datetime


def record_proof(lake: Lake, proof: ErasureProof, *, token: int) -> None:
    """Write down what an erasure removed, once for each try."""
    as_json = ("rows_before", "rows_after", "models", "models_unknown")
    row = {
        **asdict(proof),
        "action": ERASED,
        **{name: json.dumps(getattr(proof, name), sort_keys=True) for name in as_json},
    }
    _append(lake, row, now=proof.recorded_at, name=f"{proof.workflow} {proof.pseudonym_digest} erased {token}")


def erased_digests(lake: Lake, workflow: str) -> frozenset[str]:
    """Digests of the pseudonyms of a workflow's erased respondents."""
    return frozenset(read_erasures(lake, workflow=workflow)["pseudonym_digest"].to_pylist())


def read_erasures(lake: Lake, *, workflow: str) -> pa.Table:
    """Requests and proofs of one workflow, in the order of time."""
    if not table_exists(lake, ERASURES):
        return SCHEMA.empty_table()
    dataset = open_table(lake, ERASURES).to_pyarrow_dataset(filesystem=native_filesystem(lake, ERASURES))
    return dataset.to_table(columns=SCHEMA.names, filter=pc.field("workflow") == workflow).sort_by("recorded_at")


def _append(lake: Lake, row: dict[str, object], *, now: datetime, name: str) -> None:
    rows = pa.Table.from_pylist([{**dict.fromkeys(SCHEMA.names), **row, "recorded_at": now}], schema=SCHEMA)
    append_batch(lake, ERASURES, rows, partition_key=f"{now:%Y-%m}", batch_id=f"erasure {name}")

"""
Chains of the ledger's lines: each holds the digest of the one before it of the same workflow, so that a change is
noticed.

Lines 1, 2, 3, ... of one workflow are links. A link's digest covers all its fields, its number and the digest before
it: a line that is changed, removed, added or moved breaks the chain there. Lines from before there were chains are
covered as a whole by the first link. Who can rewrite a line and all lines after it is noticed only if links are signed,
with a key that he does not have.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from include.lake.digests import digest_bytes
from include.lake.records import DecisionRecord, PromotionRecord

LinkedRecord = DecisionRecord | PromotionRecord
L = TypeVar("L", DecisionRecord, PromotionRecord, LinkedRecord)

START = digest_bytes(b"updraft-chain-1")
_NOT_DIGESTED = frozenset({"record_digest", "signature"})


def link(record: L, *, key: str | None) -> L:
    """
    Complete a record that has its number and the digest before it: with its own digest and, if there is a key, a
    signature.
    """
    digest = digest_of_record(record)
    return replace(record, record_digest=digest, signature=None if key is None else _sign(digest, key))


def digest_of_record(record: LinkedRecord) -> str:
    """
    SHA-256 of all fields that have a value: a field that records gain later leaves the digests of older ones as they
    were.
    """
    values = {
        name: _plain(value) for name, value in asdict(record).items() if value is not None and name not in _NOT_DIGESTED
    }
    return digest_bytes(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())


def digest_of_lines(records: Sequence[LinkedRecord]) -> str:
    """Digest of lines that are no links, in whatever order they are read."""
    return digest_bytes(json.dumps(sorted(digest_of_record(record) for record in records)).encode())


def find_faults(records: Sequence[LinkedRecord], *, n_links: int, key: str | None) -> list[str]:
    """
    Compare a workflow's lines with their digests.

    Parameters
    ----------
    records : sequence
        All of them, in any order.
    n_links : int
        How many links were appended, by the table's log: without it nobody would miss the last one.
    key : str, optional
        With it, every link from the first signed one on must be signed with it.

    Returns
    -------
    list of str
        Sentences that name the lines; none, if all is as it was appended.

    """
    older = [record for record in records if record.sequence is None]
    links = sorted((record for record in records if record.sequence is not None), key=_number)
    if not n_links and not links:
        return []
    faults = []
    previous, is_signed = (digest_of_lines(older) if older else START), False
    if links and links[0].sequence == 1 and links[0].previous_digest != previous:
        faults.append(
            f"the {len(older)} lines without a link are not those from before the chain: one was changed, added or "
            "removed"
        )
        previous = str(links[0].previous_digest)
    numbers = [_number(record) for record in links]
    faults += [f"line {number} is missing" for number in range(1, n_links + 1) if number not in numbers]
    faults += [
        f"line {number} is there {numbers.count(number)} times"
        for number in sorted(set(numbers))
        if numbers.count(number) > 1
    ]
    faults += [f"line {number} was never appended" for number in numbers if number > n_links]
    expected = 1
    for record in links:
        digest = digest_of_record(record)
        if digest != record.record_digest:
            faults.append(f"{_name(record)} was changed after it was written")
        elif record.sequence == expected and record.previous_digest != previous:
            faults.append(f"{_name(record)} does not follow the line before it: one of the two was replaced or moved")
        is_signed = is_signed or record.signature is not None
        if key is not None and is_signed and not _is_signed(record, key):
            faults.append(f"{_name(record)} is not signed with this key")
        previous, expected = str(record.record_digest), _number(record) + 1
    return faults


def _number(record: LinkedRecord) -> int:
    return record.sequence or 0


def _name(record: LinkedRecord) -> str:
    what = record.verdict if isinstance(record, DecisionRecord) else record.action
    return f"line {record.sequence} (version {record.model_version}, {what})"


def _sign(digest: str, key: str) -> str:
    return hmac.new(key.encode(), digest.encode(), hashlib.sha256).hexdigest()


def _is_signed(record: LinkedRecord, key: str) -> bool:
    return record.signature is not None and hmac.compare_digest(record.signature, _sign(str(record.record_digest), key))


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value

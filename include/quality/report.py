"""What validation hands to publication. It imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ValidationReport:
    """
    What validation found, and where publication finds it: counts, digests and addresses, never a row.

    `failed` names the rules that some row or the table broke, `[warn]` those that only warn. `notes` says what a person
    should know besides: columns that are new, rules that had too little history to judge by.
    """

    partition_key: str
    raw_version: int
    raw_digest: str
    rows_in: int
    rows_published: int
    rows_quarantined: int
    rows_duplicate: int
    split_uri: str
    split_digest: str
    failed: tuple[str, ...]
    docs_uri: str
    notes: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ValidationReport:
        """Read back what `asdict` made, also after JSON has turned its tuples into lists."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        return cls(**values)

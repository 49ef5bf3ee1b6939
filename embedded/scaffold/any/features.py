"""Features of `$name`: one row in, one mapping out; the same in training and at the endpoint. Name only what is known in time."""

from collections.abc import Mapping
from typing import Any


def build(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make the features of one row."""
    moment = row["happened_at"]
    return {"kind": row["kind"], "amount": row["amount"], "hour": None if moment is None else moment.hour}

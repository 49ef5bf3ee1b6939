"""
Fencing tokens: an int that grows with every try, so that a try that was given up can't overwrite a newer one's work.

A token is 60 bits: 48 of milliseconds since 1970 and 12 of randomness, which is how a UUIDv7 (RFC 9562) begins.
"""

from __future__ import annotations

import secrets
import time
from uuid import UUID

from include.errors import LakeError

RANDOM_BITS = 12


def new_token() -> int:
    """Return a token for a try that starts now."""
    return (time.time_ns() // 1_000_000) << RANDOM_BITS | secrets.randbits(RANDOM_BITS)


def token_of_try(try_id: str) -> int:
    """
    Return the token of one try of a task.

    Parameters
    ----------
    try_id : str
        A UUIDv7, such as the id of an Airflow task instance, which is new with every try.

    Raises
    ------
    LakeError
        If `try_id` is no UUIDv7: other ids do not grow with time.

    """
    try:
        value = UUID(try_id)
    except ValueError:
        value = UUID(int=0)
    if value.version != 7:
        raise LakeError(
            f"try id {try_id!r} is no UUIDv7, so it does not tell which try is newer: use the task instance's id, or "
            "new_token()"
        )
    milliseconds, random = value.int >> 80, (value.int >> 64) & 0xFFF
    return milliseconds << RANDOM_BITS | random

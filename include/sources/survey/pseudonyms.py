"""Pseudonyms: HMAC-SHA256 of an identifier, under a key that is kept apart from the data."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata

import pyarrow as pa

from include.errors import SettingsError
from include.settings import Settings, read_settings

MINIMUM_LENGTH = 3
TOO_SHORT = "too short"


def pseudonym_key(settings: Settings | None = None) -> bytes:
    """
    Return the secret key.

    Raises
    ------
    SettingsError
        If there is none.

    """
    key = (settings or read_settings()).pseudonym_key
    if key is None:
        raise SettingsError(
            "UPDRAFT_PSEUDONYM_KEY is not set: a survey is read only with a key for its pseudonyms, see .env.example"
        )
    return key.encode()


def pseudonym_of(identifier: str, *, workflow: str, column: str, key: bytes) -> str | None:
    """
    Return the pseudonym of one identifier: 64 hex digits, or None if too little is left of it to tell a person.

    Case, outer spaces and the form of Unicode do not count. Each workflow and column has pseudonyms of its own: two
    surveys can't be joined by them.
    """
    plain = " ".join(unicodedata.normalize("NFKC", identifier).casefold().split())
    if len(plain) < MINIMUM_LENGTH:
        return None
    return hmac.new(key, f"{workflow}\0{column}\0{plain}".encode(), hashlib.sha256).hexdigest()


def pseudonyms(identifiers: pa.Array, *, workflow: str, column: str, key: bytes) -> pa.Array:
    """Return the pseudonyms of a column of identifiers of any type; null where there is none or it is too short."""
    texts = identifiers.cast(pa.string()).to_pylist()
    made = {
        text: None if text is None else pseudonym_of(text, workflow=workflow, column=column, key=key)
        for text in set(texts)
    }
    return pa.array([made[text] for text in texts], pa.string())


def pseudonym_digest(pseudonym: str) -> str:
    """
    Return what stands for an erased respondent in the ledger: it tells the pseudonym again, and does not
    contain it.
    """
    return hashlib.sha256(pseudonym.encode()).hexdigest()

"""Connection URIs: which kind of database, where, and how to speak of it without its password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from include.errors import SourceQueryError

_SCHEMES: dict[str, Literal["postgresql", "sqlite"]] = {
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "sqlite": "sqlite",
}


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A checked connection URI. Its repr holds no secret."""

    kind: Literal["postgresql", "sqlite"]
    address: str = field(repr=False)  # libpq's URI, or the SQLite file's absolute path
    label: str  # what messages may show
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def redact(self, text: str) -> str:
        """Take the password out of a driver's message."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def read_connection_uri(uri: str) -> Connection:
    """
    Check a connection URI: `postgresql://…` (also `postgres://`, `postgresql+driver://`) or `sqlite:////abs/path.db`.

    Raises
    ------
    SourceQueryError
        If the scheme is unknown or the SQLite path is not absolute. The message shows no password.

    """
    scheme = uri.partition("://")[0].lower().partition("+")[0] if "://" in uri else ""
    kind = _SCHEMES.get(scheme)
    if kind is None:
        # Only a plain scheme is shown: anything else might be a pasted secret.
        shown = repr(scheme) if re.fullmatch(r"[a-z][a-z0-9]{0,19}", scheme) else "no known scheme"
        raise SourceQueryError(
            f"the connection's URI has {shown}: use postgresql://user:password@host:port/database or sqlite:////path.db"
        )
    return _postgresql(uri) if kind == "postgresql" else _sqlite(uri)


def _postgresql(uri: str) -> Connection:
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise SourceQueryError(
            "the connection's URI is malformed: percent-encode special characters of user and password"
        ) from None
    # Airflow's connections may carry an `__extra__` that libpq does not know.
    options = {key: value for key, value in parse_qsl(parts.query) if key != "__extra__"}
    # A dead network must not hold a task for ever: the server's own timeout cannot help there.
    defaults = {
        "connect_timeout": "15",
        "keepalives_idle": "30",
        "tcp_user_timeout": "60000",
        "application_name": "updraft",
    }
    address = urlunsplit(
        ("postgresql", parts.netloc, parts.path, urlencode({**defaults, **options}, quote_via=quote), "")
    )
    raw = {parts.password or "", options.get("password", "")}
    secrets = sorted({secret for value in raw for secret in (value, unquote(value)) if secret}, key=len, reverse=True)
    place = f"{parts.hostname or 'localhost'}:{port or 5432}"
    return Connection(
        kind="postgresql",
        address=address,
        label=f"PostgreSQL database {unquote(parts.path[1:])!r} at {place}",
        secrets=tuple(secrets),
    )


def _sqlite(uri: str) -> Connection:
    # sqlite:////abs/path.db is SQLAlchemy's form; Airflow writes sqlite://%2Fabs%2Fpath.db or
    # sqlite:///%2Fabs%2Fpath.db.
    rest = unquote(uri.partition("://")[2].partition("?")[0])
    path = rest[1:] if rest.startswith("//") else rest
    if not path.startswith("/") or (rest == path and "%2f" not in uri.lower()):
        raise SourceQueryError(
            f"the SQLite path {path!r} is not absolute: write sqlite:////absolute/path.db, with four slashes"
        )
    return Connection(kind="sqlite", address=path, label=f"SQLite file {path}")

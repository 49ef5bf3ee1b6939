import pytest

from include.errors import SourceQueryError
from include.sources.connection import read_connection_uri


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_spelling_of_postgresql_is_one(scheme):
    connection = read_connection_uri(f"{scheme}://reader:s%40crt@db:5433/flights?__extra__=%7B%7D&sslmode=prefer")
    assert connection.kind == "postgresql"
    assert connection.label == "PostgreSQL database 'flights' at db:5433"
    assert connection.address.startswith("postgresql://reader:s%40crt@db:5433/flights?")
    assert "sslmode=prefer" in connection.address
    assert "__extra__" not in connection.address
    assert connection.redact("s@crt s%40crt") == "*** ***"
    assert "crt" not in repr(connection)


@pytest.mark.parametrize(
    "uri", ["sqlite:////data/a b.db", "sqlite://%2Fdata%2Fa%20b.db", "sqlite:///%2Fdata%2Fa%20b.db"]
)
def test_every_spelling_of_a_sqlite_path_is_one(uri):
    assert read_connection_uri(uri).address == "/data/a b.db"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mysql://u:hunter2@h/d", "'mysql'"),
        ("hunter2", "no known scheme"),
        ("hunter2!://x", "no known scheme"),
        ("sqlite:///flights.db", "not absolute"),
        ("sqlite://", "not absolute"),
        ("postgresql://u:hunter2@h:port/d", "malformed"),
    ],
)
def test_a_wrong_uri_is_refused_without_its_secret(uri, message):
    with pytest.raises(SourceQueryError, match=message) as refusal:
        read_connection_uri(uri)
    assert "hunter2" not in str(refusal.value)

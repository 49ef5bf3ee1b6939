"""
Where the lake lies, and its Delta tables.

A table is opened anew for every use: a `DeltaTable` holds threads and connections that survive neither a fork nor a
pickle.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError
from deltalake.exceptions import TableNotFoundError as DeltaTableNotFoundError
from pyarrow import fs

from include.errors import LakeError, TableNotFoundError
from include.settings import Settings, read_settings

TABLE_SEGMENT = re.compile(r"[a-z][a-z0-9_]{0,62}")

TABLE_CONFIGURATION = {
    # A model's snapshot is pinned to a table version: the log that tells what a version held is kept for good.
    "delta.enableExpiredLogCleanup": "false",
    # A table is opened a dozen times a day of data, from its last checkpoint on: with the default, 100, that is forty
    # milliseconds.
    "delta.checkpointInterval": "10",
}


@dataclass(frozen=True, kw_only=True)
class Lake:
    """
    A root of tables and files. It holds no connection, so it may be pickled.

    With `evidence_key`, what is appended to the ledger's chains is signed, and signatures are asked for where chains
    are checked.
    """

    uri: str
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    evidence_key: str | None = field(default=None, repr=False)

    @property
    def is_remote(self) -> bool:
        """Whether the lake lies on an object store rather than in a folder."""
        return "://" in self.uri


def open_lake(settings: Settings | None = None) -> Lake:
    """Return the lake that the settings name."""
    found = settings or read_settings()
    return Lake(uri=found.lake_uri, storage_options=dict(found.storage_options), evidence_key=found.evidence_key)


def table_uri(lake: Lake, table: str) -> str:
    """
    Return the address of a table.

    Raises
    ------
    LakeError
        If a segment of the name is not `^[a-z][a-z0-9_]{0,62}$`.

    """
    if not all(TABLE_SEGMENT.fullmatch(segment) for segment in table.split("/")):
        raise LakeError(f"{table!r} is no table name: write lower-case segments such as flight_delays/validated")
    return f"{lake.uri}/{table}"


def table_exists(lake: Lake, table: str) -> bool:
    """Whether the table has a first commit."""
    return bool(DeltaTable.is_deltatable(table_uri(lake, table), storage_options=dict(lake.storage_options)))


def table_version(lake: Lake, table: str) -> int:
    """
    Return the newest version of a table.

    Raises
    ------
    TableNotFoundError
        If there is no such table.

    """
    return int(open_table(lake, table).version())


def open_table(lake: Lake, table: str, *, version: int | None = None) -> DeltaTable:
    """
    Open a table, as of a version if one is given.

    Raises
    ------
    TableNotFoundError
        If there is no such table, or it has no such version.

    """
    uri = table_uri(lake, table)
    try:
        return DeltaTable(uri, version=version, storage_options=dict(lake.storage_options))
    except DeltaTableNotFoundError as error:
        raise TableNotFoundError(
            f"the lake {lake.uri} has no table {table!r}: run the task that writes it first"
        ) from error
    except DeltaError as error:
        if version is not None and table_exists(lake, table):
            raise TableNotFoundError(
                f"table {table!r} has no version {version}: it is at {table_version(lake, table)}"
            ) from error
        raise


def open_or_create_table(lake: Lake, table: str, schema: pa.Schema, *, partition_by: str) -> DeltaTable:
    """
    Open a table; create it empty if there is none. Of several creators at once one wins, and the others open what it
    made.
    """
    if not table_exists(lake, table):
        _create_table(lake, table, schema, partition_by=partition_by)
    return open_table(lake, table)


def _create_table(lake: Lake, table: str, schema: pa.Schema, *, partition_by: str) -> None:
    uri = table_uri(lake, table)
    if not lake.is_remote:
        Path(uri).mkdir(parents=True, exist_ok=True)
    try:
        DeltaTable.create(
            uri,
            schema=Schema([Field.from_arrow(column) for column in schema]),
            mode="error",
            partition_by=[partition_by],
            configuration=TABLE_CONFIGURATION,
            storage_options=dict(lake.storage_options),
            # By default the loser of a race tries again, and creates the table a second time on top of the winner's
            # commits.
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    except DeltaError:
        if not table_exists(lake, table):
            raise


def upload_file(lake: Lake, source: Path, path: str) -> None:
    """Copy a local file into the lake, durably, in pieces: it is never held in memory as a whole."""
    if lake.is_remote:
        folder, _, name = path.rpartition("/")
        fs.copy_files(
            str(source),
            name,
            source_filesystem=fs.LocalFileSystem(),
            destination_filesystem=native_filesystem(lake, folder),
        )
        return
    target = Path(lake.uri) / path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def native_filesystem(lake: Lake, path: str) -> fs.FileSystem:
    """
    Return Arrow's own file system, rooted at a folder of the lake.

    Delta's default is a file system in Python: Arrow's threads call it, and when one of them still does at the
    interpreter's exit, the process dies ("terminate called without an active exception", exit status 134, or 139).
    """
    root = f"{lake.uri}/{path}"
    if not lake.is_remote:
        return fs.SubTreeFileSystem(root, fs.LocalFileSystem())
    options = lake.storage_options
    scheme, _, endpoint = options.get("AWS_ENDPOINT_URL", "").rpartition("://")
    if not endpoint:
        # AWS itself: the URI makes Arrow ask for the bucket's region, and credentials come from the environment or the
        # machine's role.
        return fs.SubTreeFileSystem(root.removeprefix("s3://"), fs.FileSystem.from_uri(root)[0])
    server = fs.S3FileSystem(
        endpoint_override=endpoint,
        scheme=scheme,
        access_key=options["AWS_ACCESS_KEY_ID"],
        secret_key=options["AWS_SECRET_ACCESS_KEY"],
        region=options["AWS_REGION"],
    )
    return fs.SubTreeFileSystem(root.removeprefix("s3://"), server)

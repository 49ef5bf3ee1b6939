"""
The demo's web site: SQLAlchemy's release notes, as HTML pages, served by Caddy on loopback.

They lie in PyPI's source archive of SQLAlchemy 2.0.43 (MIT). The archive is fetched from the index that pip uses, its
hash is checked, and only `doc/changelog/*.html` is unpacked: nothing of it is built or run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import requests

from embedded.demo_data import DemoDataError
from embedded.home import Home
from embedded.services import Service, check_answer

ARCHIVE = "sqlalchemy-2.0.43.tar.gz"
SHA256 = "788bfcef6787a7764169cfe9859fe425bf44559619e1d9f56f5bddf2ebf6f417"
INDEX = "https://pypi.org/simple"
CONNECTION = "release_notes_site"
# The archive's newest release is of 11 August 2025.
NEWEST = datetime(2025, 9, 1, tzinfo=UTC)
_FOLDER = "sqlalchemy-2.0.43/doc/changelog/"
_TIMEOUT_SECONDS = 120
_MAX_PAGE_BYTES = 5_000_000
_CADDYFILE = """\
{{
    admin off
    auto_https off
    persist_config off
    storage file_system {state}
}}
http://127.0.0.1:{port} {{
    bind 127.0.0.1
    root * {root}
    file_server
    log {{
        output file {log}
        format json
    }}
}}
"""


class ReleaseNotesError(DemoDataError):
    """Raised when the archive with the release notes cannot be fetched, or is not the one that is expected."""


def install_site(home: Path, *, progress: Callable[[str], None] = lambda _: None) -> Path:
    """
    Put the pages into `<home>/release-notes`; nothing if they are there.

    Raises
    ------
    ReleaseNotesError
        If the index does not give the archive, or one with another hash.

    """
    folder = home / "release-notes"
    if not (folder / "index.html").is_file():
        progress(f"fetching {ARCHIVE} (10 MB)")
        data = _fetch(ARCHIVE)
        folder.mkdir(parents=True, exist_ok=True)
        _unpack(data, folder, home / f".{ARCHIVE}.{os.getpid()}")
    return folder


def connection_uri(port: int) -> str:
    """URI of the Airflow connection `release_notes_site`: a host of our own network has to be allowed."""
    return f"http://127.0.0.1:{port}/?allow_private_host=true"


def server_command(folder: Path, *, port: int, state: Path) -> list[str]:
    """
    Write Caddy's configuration, and give the command that serves a folder on loopback; its log of requests is
    `<state>/access.log`.
    """
    state.mkdir(parents=True, exist_ok=True)
    caddyfile = state / "Caddyfile"
    caddyfile.write_text(
        _CADDYFILE.format(port=port, root=folder, state=state, log=state / "access.log"), encoding="utf-8"
    )
    return [str(Path(sys.executable).parent / "caddy"), "run", "--adapter", "caddyfile", "--config", str(caddyfile)]


def site_services(home: Home, environment: Mapping[str, str]) -> list[Service]:
    """Plan the web server, for the supervisor."""
    port, state = home.ports[CONNECTION], home.folder / "release-notes-site"
    command = server_command(home.folder / "release-notes", port=port, state=state)
    return [
        Service(
            name="release_notes-site",
            command=tuple(command),
            check=lambda started: check_answer(f"http://127.0.0.1:{port}/"),
            port=port,
            environment={**environment, "HOME": str(state)},
        )
    ]


@contextlib.contextmanager
def running_site(folder: Path, *, port: int, state: Path) -> Iterator[str]:
    """Serve a folder while the block is open; gives the site's address."""
    command = server_command(folder, port=port, state=state)
    with (state / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "HOME": str(state)}, start_new_session=True
        )
    try:
        _wait_until_ready(process, port, state / "server.log")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at and process.poll() is None:
        try:
            requests.head(f"http://127.0.0.1:{port}/", timeout=5).close()
        except requests.RequestException:
            time.sleep(0.05)
        else:
            return
    raise ReleaseNotesError(
        f"the site of the release notes did not start: {log.read_text(encoding='utf-8', errors='replace')[-1000:]}"
    )


def _fetch(name: str) -> bytes:
    index = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX") or INDEX
    page = f"{index.rstrip('/')}/sqlalchemy/"
    try:
        with requests.Session() as session:
            listing = session.get(page, headers={"Accept": "text/html"}, timeout=_TIMEOUT_SECONDS)
            listing.raise_for_status()
            link = re.search(rf'href="([^"]*/{re.escape(name)}(?:#[^"]*)?)"', listing.text)
            if link is None:
                raise ReleaseNotesError(f"the index {page} has no {name}: use an index that has it (PIP_INDEX_URL)")
            answer = session.get(urldefrag(urljoin(page, unescape(link[1])))[0], timeout=_TIMEOUT_SECONDS)
            answer.raise_for_status()
    except requests.RequestException as error:
        raise ReleaseNotesError(
            f"{name} could not be fetched from {page} ({type(error).__name__}): see that the index answers"
        ) from None
    digest = hashlib.sha256(answer.content).hexdigest()
    if digest != SHA256:
        raise ReleaseNotesError(f"{name} from {page} has the SHA-256 {digest}, not {SHA256}: it was not unpacked")
    return answer.content


def _unpack(data: bytes, folder: Path, temporary: Path) -> None:
    temporary.write_bytes(data)
    try:
        with tarfile.open(temporary) as archive:
            members = [
                member
                for member in archive
                if member.isfile() and re.fullmatch(rf"{re.escape(_FOLDER)}\w+\.html", member.name)
            ]
            # The index page last: whoever finds it finds all.
            for member in sorted(members, key=lambda member: member.name.endswith("/index.html")):
                file = archive.extractfile(member)
                if file is not None and member.size <= _MAX_PAGE_BYTES:
                    (folder / Path(member.name).name).write_bytes(file.read())
    finally:
        temporary.unlink(missing_ok=True)

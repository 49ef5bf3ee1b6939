"""
What a crawl has received and not landed yet: a crawl that was killed goes on where it ended, and asks for nothing
twice.

Pages land in one commit at a crawl's end, so that nobody ever reads half a site. Until then each response has a line in
a log below `<name>/_crawls/`, in a folder that is named after the crawl that landed last. The next landing leaves it
behind, and removes it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from include.lake.crash_points import crash_point
from include.lake.digests import digest_bytes
from include.lake.files import append_line, delete_files, get_file, list_files, put_file
from include.sources.web.archive import Archive, Stored


class Journal:
    """One crawl's journal; what is in it for longer than `max_age` is asked for again."""

    def __init__(self, archive: Archive, *, crawl_id: str, max_age: timedelta) -> None:
        self._archive, self._crawl_id, self._max_age = archive, crawl_id, max_age
        landed = archive.last_crawl
        self._folder = f"{archive.name}/_crawls/{_short(landed[0].crawl_id) if landed else 'first'}"
        self._received = {url: stored for url, stored in self._entries() if self._is_recent(stored)}

    def received(self, url: str) -> Stored | None:
        """Return what an address has answered already, as this crawl's own."""
        return self._received.get(url)

    def note(self, url: str, stored: Stored) -> None:
        """Keep what an address has answered."""
        entry = {"asked": url, **vars(stored), "fetched_at": stored.fetched_at.isoformat()}
        append_line(
            self._archive.lake, f"{self._folder}/{_short(self._crawl_id)}", json.dumps(entry, sort_keys=True).encode()
        )
        crash_point("crawl.after_note")

    def unreported(self) -> list[Stored]:
        """Return what the last crawl landed, if it was killed before it could say so; of a long time ago, nothing."""
        landed = self._archive.last_crawl
        is_recent = any(self._is_recent(stored) for stored in landed)
        return landed if is_recent and self._reported not in list_files(self._archive.lake, self._folder) else []

    def report(self) -> None:
        """Note that the crawl that landed last has said so."""
        put_file(self._archive.lake, self._reported, b"{}")

    def remove_earlier(self) -> None:
        """Remove what the crawls before the one that landed last have left."""
        root = f"{self._archive.name}/_crawls"
        left = [path for path in list_files(self._archive.lake, root) if not path.startswith(f"{self._folder}/")]
        delete_files(self._archive.lake, left)

    @property
    def _reported(self) -> str:
        return f"{self._folder}/reported"

    def _entries(self) -> list[tuple[str, Stored]]:
        found = []
        for path in list_files(self._archive.lake, self._folder):
            for line in get_file(self._archive.lake, path).splitlines() if path != self._reported else ():
                try:
                    entry = json.loads(line)
                except ValueError:  # cut by a power failure: its page is asked for again
                    continue
                asked, fetched_at = entry.pop("asked"), datetime.fromisoformat(entry.pop("fetched_at"))
                found.append((asked, replace(Stored(**entry, fetched_at=fetched_at), crawl_id=self._crawl_id)))
        return sorted(found, key=lambda entry: entry[1].fetched_at)

    def _is_recent(self, stored: Stored) -> bool:
        return datetime.now(UTC) - stored.fetched_at < self._max_age


def _short(text: str) -> str:
    return digest_bytes(text.encode())[:32]

"""What is happening, how far, how long: one plain line at a time, as readable in a log file as in a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# A line that only counts further appears this often; one that says something new appears at once.
QUIET_SECONDS = 5.0


class Progress:
    """Prints the stages of a long run and keeps the seconds of each."""

    def __init__(self, stages: int, *, write: Callable[[str], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._n_stages = stages
        self._write = write or (lambda line: print(line, flush=True))
        self._begun = time.monotonic()
        self._last = ""
        self._told = 0.0
        self._stage = ""

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Announce a stage, and time it."""
        begun = time.monotonic()
        self._stage = f"[{len(self.seconds) + 1}/{self._n_stages}] {name}"
        self._last = ""
        self._say(what)
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - begun, 1)
        self._say(f"done in {self.seconds[name]:.1f} s")

    def tell(self, text: str, *, count: str = "") -> None:
        """Say where the stage is: at once if `text` is new, now and then if only `count` is."""
        is_new = text != self._last
        if not is_new and (not count or time.monotonic() - self._told < QUIET_SECONDS):
            return
        self._last = text
        self._say(f"{text} {count}".rstrip())

    def _say(self, text: str) -> None:
        self._told = time.monotonic()
        minutes, seconds = divmod(int(self._told - self._begun), 60)
        self._write(f"{minutes:2d}:{seconds:02d}  {self._stage:14} {text}")

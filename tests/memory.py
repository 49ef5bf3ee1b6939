"""How far this process's memory grows within a block, whatever peak it had before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PROCESS = Path("/proc/self")


@contextmanager
def watched_memory() -> Iterator[Callable[[], int]]:
    """
    Give a function that tells the growth so far, in KiB. The peak is set back first: an earlier test's would hide this
    one's.
    """
    (_PROCESS / "clear_refs").write_text("5")
    before = _peak()
    yield lambda: _peak() - before


def _peak() -> int:
    found = re.search(r"VmHWM:\s*(\d+) kB", (_PROCESS / "status").read_text())
    assert found
    return int(found[1])

"""Named moments at which a test may kill the process, to prove that a re-run completes what was half done."""

from __future__ import annotations

import os
import signal


def crash_point(name: str) -> None:
    """
    Kill this process with SIGKILL if the environment's `UPDRAFT_CRASH_AT` is `name`; otherwise do nothing.

    Parameters
    ----------
    name : str
        `<step>.<moment>`, for instance `publish.before_ledger`.

    """
    if os.environ.get("UPDRAFT_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)

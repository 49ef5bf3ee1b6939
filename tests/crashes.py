"""Run Python in a process of its own and kill it at a named crash point: what a test of crash safety needs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).resolve().parent.parent
KILLED = -signal.SIGKILL


def run_python(
    snippet: str,
    *,
    arguments: Any = None,
    crash_at: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """
    Run a snippet in a new Python at the project's root.

    The snippet finds `arguments` (anything that JSON can carry) under the name `arguments`. With `crash_at`, the
    process kills itself at that crash point: its return code is then `KILLED` (-9), which the caller should assert.
    """
    env = {**os.environ, **(environment or {})}
    env.pop("UPDRAFT_CRASH_AT", None)
    if crash_at is not None:
        env["UPDRAFT_CRASH_AT"] = crash_at
    program = f"import json, sys\narguments = json.loads(sys.argv[1])\n{snippet}"
    return subprocess.run(
        [sys.executable, "-c", program, json.dumps(arguments)],
        cwd=PROJECT_ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def start_module(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None, stdin: int | None = None
) -> subprocess.Popen[str]:
    """Start `python -m module` at the project's root; the caller waits for it or kills it."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, **(environment or {})},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str], *, timeout_seconds: float = 180) -> Any:
    """Wait for a started module that must exit with 0, and return the JSON of its last line."""
    output, errors = process.communicate(timeout=timeout_seconds)
    assert process.returncode == 0, f"exit status {process.returncode}: {errors[-2000:]}"
    return json.loads(output.splitlines()[-1])

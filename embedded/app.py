"""`python -m embedded.app NAME` (`make app NAME=…`): the web page of a workflow's endpoint, until Ctrl-C."""

from __future__ import annotations

import os
import sys

from embedded.airflow_env import stack_environment
from embedded.control import read_status
from embedded.home import PROJECT_ROOT, is_free, open_home
from embedded.processes import MARK

USAGE = "Usage: make app NAME=flight_delays"


def main(arguments: list[str]) -> int:
    """Become Streamlit, with the stack's settings."""
    if len(arguments) != 1 or not arguments[0]:
        print(USAGE, file=sys.stderr)
        return 2
    (name,) = arguments
    if not (PROJECT_ROOT / "include" / "workflows" / name).is_dir() or not name.isidentifier():
        print(f"NAME={name!r} is no workflow of this project. {USAGE}", file=sys.stderr)
        return 1
    home = open_home()
    if not read_status(home).get("units"):
        print("Nothing runs here: `make demo` or `make up` first.", file=sys.stderr)
        return 1
    environment = stack_environment(home)
    del environment[MARK]  # a person's process is none of the stack's
    port = next(port for port in range(8501, 8600) if is_free(port))
    options = {
        "server.address": "127.0.0.1",
        "server.port": str(port),
        "server.headless": "true",
        "server.maxUploadSize": "1",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
    }
    page = str(PROJECT_ROOT / "include" / "app" / "page.py")
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        page,
        *(f"--{key}={value}" for key, value in options.items()),
        "--",
        name,
    ]
    print(f"http://127.0.0.1:{port}   (Ctrl-C ends it)", flush=True)
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

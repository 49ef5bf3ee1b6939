"""
`python -m embedded.reproduce NAME VERSION` (`make reproduce NAME=… VERSION=…`): rebuild a version from its manifest,
and compare.
"""

from __future__ import annotations

import sys
import time

from embedded.airflow_env import stack_environment
from embedded.home import open_home
from include.errors import UpdraftError
from include.settings import Settings, read_settings

USAGE = "Usage: make reproduce NAME=flight_delays VERSION=3"
EQUAL, DIFFERENT, UNUSABLE = 0, 1, 2


def settings_here() -> Settings:
    """The settings of the stack that was started here, if one was; else those of the environment alone."""
    home = open_home()
    return read_settings(stack_environment(home) if home.ports else None)


def main(arguments: list[str]) -> int:
    """Rebuild one version; 0 if it is equal, 1 if it differs or can't be rebuilt."""
    if len(arguments) != 2 or not all(arguments):
        print(USAGE, file=sys.stderr)
        return UNUSABLE
    name, version = arguments
    from include.lake.store import open_lake
    from include.registry.reproduction import reproduce_version
    from include.registry.store import open_registry
    from include.serving.server import find_workflow

    started = time.monotonic()
    try:
        settings = settings_here()
        done = reproduce_version(
            find_workflow(name=name), version, lake=open_lake(settings), registry=open_registry(settings)
        )
    except UpdraftError as error:
        print(f"\n{error}", file=sys.stderr)
        return DIFFERENT
    print(f"Version {version} of {name}, fitted again in {time.monotonic() - started:.1f} s")
    print(f"  recorded digest  {done.recorded_digest}")
    print(f"  rebuilt digest   {done.rebuilt_digest or 'none: what differs was seen before'}")
    if done.is_equal:
        print("Equal, to the byte.")
        return EQUAL
    print("It differs:", file=sys.stderr)
    for difference in done.differences:
        print(f"  {difference}", file=sys.stderr)
    return DIFFERENT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

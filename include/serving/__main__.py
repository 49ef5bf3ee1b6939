"""`python -m include.serving --workflow flight_delays --port 8642`: the endpoint of one workflow, in one process."""

from __future__ import annotations

import os

# One row is too little work for threads to share: with more than one, a prediction on a busy machine takes 40 times as
# long. Read by OpenMP when numpy and scikit-learn are loaded, hence before every other import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import logging
import sys
from collections.abc import Sequence

from include.errors import UpdraftError

logger = logging.getLogger("include.serving")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the endpoint until SIGTERM or SIGINT; 0 after an orderly end, 2 if it could not start."""
    parser = argparse.ArgumentParser(prog="python -m include.serving", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--workflow", help="name of a workflow under include/workflows")
    which.add_argument("--workflow-file", help="path of a file that declares `workflow`")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8642)
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=os.environ.get("UPDRAFT_LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        from include.serving.server import find_workflow, serve

        workflow = find_workflow(name=options.workflow, file=options.workflow_file)
        serve(workflow, host=options.host, port=options.port)
    except UpdraftError as error:
        logger.error("the endpoint cannot start: %s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

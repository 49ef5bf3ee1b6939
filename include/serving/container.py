"""
`python -m include.serving.container`: one model package behind SageMaker's contract, in a container of its own.

SageMaker unpacks the bundle into `/opt/ml/model`, starts the image with the word `serve`, asks `GET /ping` on port 8080
until it says 200, and sends `POST /invocations` there. The package is verified against the digest that the deployment
gave (`UPDRAFT_MODEL_DIGEST`) before a byte of it is loaded. There is no lake here: predictions are not logged by
Updraft, and nothing can be switched from outside.

| variable | meaning | default |
|---|---|---|
| `UPDRAFT_MODEL_DIGEST` | the digest that the package must have | none: nothing starts |
| `UPDRAFT_MODEL_VERSION` | number of the version, which answers name | none: nothing starts |
| `UPDRAFT_MODEL_DIR` | the unpacked bundle | `/opt/ml/model` |
| `SAGEMAKER_BIND_TO_PORT` | the port | 8080 |
"""

from __future__ import annotations

import os

# As in __main__: read by OpenMP when numpy is loaded, hence before every other import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from include.errors import SettingsError, UpdraftError

logger = logging.getLogger(__name__)

MODEL_DIR = "/opt/ml/model"
PORT = 8080
_DIGEST = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9]{1,18}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 0 after an orderly end, 2 if it could not start."""
    parser = argparse.ArgumentParser(
        prog="python -m include.serving.container", description="Serve one verified model package."
    )
    parser.add_argument(
        "command", nargs="?", choices=["serve"], default="serve", help="what SageMaker starts the image with"
    )
    parser.add_argument("--host", default="0.0.0.0", help="in a container every address is the container's own")
    parser.add_argument("--port", type=int, default=int(os.environ.get("SAGEMAKER_BIND_TO_PORT") or PORT))
    options = parser.parse_args(arguments)
    level = os.environ.get("UPDRAFT_LOG_LEVEL", "INFO")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        from include.serving.limits import Limits
        from include.serving.server import run_app

        limits = Limits()
        run_app(build_container_app(os.environ, limits=limits), host=options.host, port=options.port, limits=limits)
    except UpdraftError as error:
        logger.error("the container cannot serve: %s", error)
        return 2
    return 0


def build_container_app(environ: Mapping[str, str], *, limits: Any) -> Any:
    """
    Build the endpoint of one package.

    Parameters
    ----------
    environ : mapping
        The variables of this module's docstring.
    limits : include.serving.limits.Limits
        Bounds on requests.

    Raises
    ------
    SettingsError
        If digest or version are missing or malformed.
    TamperedModelError
        If the package is not the one that the digest names; nothing of it was loaded.

    """
    from include.modeling.model import load_model, read_golden
    from include.serving.app import EndpointApp
    from include.serving.endpoint import Endpoint
    from include.serving.served_model import ServedModel, serve_model
    from include.serving.slots import Slots

    digest = _required(environ, "UPDRAFT_MODEL_DIGEST", _DIGEST)
    version = _required(environ, "UPDRAFT_MODEL_VERSION", _VERSION)
    folder = Path(environ.get("UPDRAFT_MODEL_DIR") or MODEL_DIR)
    model = load_model(folder, expected_digest=digest)
    served = serve_model(version, model, golden=read_golden(folder).rows)

    def load(_: str) -> ServedModel:
        return served

    # Its one version is its champion for ever: what serves is changed by SageMaker, which starts another container.
    slots = Slots(load=load, read_champion=lambda: version, executor=ThreadPoolExecutor(1, thread_name_prefix="load"))
    endpoint = Endpoint(model.manifest.workflow, slots=slots, log=NoPredictionLog(), token=None, limits=limits)
    return EndpointApp(endpoint, follow_seconds=3_600)


class NoPredictionLog:
    """
    Where a prediction log would be: SageMaker's own data capture keeps requests and answers, if it is
    switched on.
    """

    n_collected = 0
    n_waiting = 0
    last_error: str | None = None

    def append(self, **_: Any) -> None:
        """Keep nothing."""

    def start(self) -> None:
        """Start nothing."""

    def close(self) -> None:
        """Close nothing."""

    def collect(self) -> int:
        """Move nothing."""
        return 0


def _required(environ: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = environ.get(name, "")
    if not pattern.fullmatch(value):
        raise SettingsError(
            f"{name}={value[:80]!r} is no {name.rpartition('_')[2].lower()}: the deployment sets it, see "
            "docs/deployment.md"
        )
    return value


if __name__ == "__main__":
    sys.exit(main())

"""One folder a workflow: its declaration and the files that it names."""

from __future__ import annotations

import importlib
import logging
import pkgutil

from include.workflow import Workflow

log = logging.getLogger(__name__)


def declared_workflows() -> list[Workflow]:
    """
    Import every workflow's declaration, in the order of their names. One that can't be imported is left out, and said
    so in the log.

    Its own Dag file shows that error in the web UI; here it must not hide the others.
    """
    found = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        if not module.ispkg:
            continue
        try:
            found.append(importlib.import_module(f"{__name__}.{module.name}.workflow").workflow)
        except Exception as error:
            log.error(
                "Workflow %r is left out, for its declaration can't be imported: %s", module.name, type(error).__name__
            )
    return found

"""
Which lines of `include/` the tests run: `pytest -p tests.line_coverage --cover`, in one process or in xdist's.

A probe is put before each line when its module is imported (on Python 3.12 and later the interpreter itself tells of it
once). A tracer, as pytest-cov's on 3.11, also slows down all calls within pandas, scikit-learn and Airflow: 27 to 40 %
of a test's time.
"""

from __future__ import annotations

import io
import json
import os
from typing import Any

import pytest
from slipcover import FileMatcher, ImportManager, Slipcover, merge_coverage, print_coverage

FOLDER = "include"
# Never to take the probes out again: that would replace the code of functions while they run, to save a few hundredths.
KEEP_PROBES = 2**31 - 1
EXCLUDED = ["if TYPE_CHECKING:"]


class LineCoverage:
    """What this process has run, and in xdist's controller what its workers have."""

    def __init__(self, *, is_worker: bool) -> None:
        self.is_worker = is_worker
        # What no test imports counts too: once, in the controller.
        sources = None if is_worker else [FOLDER]
        self.measured = Slipcover(d_miss_threshold=KEEP_PROBES, source=sources, exclude_also=EXCLUDED)
        self.found: dict[str, Any] | None = None
        ImportManager(self.measured, FileMatcher(sources=[FOLDER])).__enter__()

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Any:
        result = yield
        self._add(self.measured.get_coverage())
        if self.is_worker:
            session.config.workeroutput["line_coverage"] = json.dumps(self.found)  # type: ignore[attr-defined]
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        told = getattr(node, "workeroutput", {}).get("line_coverage")
        if told is not None:
            self._add(json.loads(told))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(f"lines of {FOLDER}/")
        table = io.StringIO()
        print_coverage(self.found, outfile=table, skip_covered=True)
        terminalreporter.write_line(table.getvalue())
        terminalreporter.write_line(f"{self.percent:.2f} % of the lines were run")

    @property
    def percent(self) -> float:
        return float(self.found["summary"]["percent_covered"]) if self.found else 0.0

    def _add(self, found: dict[str, Any]) -> None:
        self.found = found if self.found is None else merge_coverage(self.found, found)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cover", action="store_true", help=f"measure which lines of {FOLDER}/ are run")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before the first module of `include/` is imported, by a conftest."""
    if early_config.known_args_namespace.cover:
        is_worker = "PYTEST_XDIST_WORKER" in os.environ
        early_config.pluginmanager.register(LineCoverage(is_worker=is_worker), "line_coverage")

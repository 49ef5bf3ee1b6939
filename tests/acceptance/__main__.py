"""
`make acceptance`: what Updraft claims, tried on real parts; a row a claim with its figure, exit 1 when one falls short.

`make acceptance ONLY=kills,backfill` tries these alone. A claim is a mark, `@pytest.mark.claim("kills")`, on one test
or several; what a test gives to `record_property("figure", …)` is printed with its row. Three processes share the work,
a third of it each as measured: one tries what needs the stack of a whole demo (this folder), then monitor and sensors;
one what happens in production, which is much waiting; one all else. A claim with tests in several has a row of each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pytest

TESTS = Path(__file__).resolve().parent.parent
FOLDER = TESTS.parent / ".updraft" / "acceptance"
MONTHS = str(TESTS / "monitoring" / "test_months.py")
STACK = [str(TESTS / "acceptance"), str(TESTS / "monitoring"), str(TESTS / "sources" / "sensor")]
PRODUCTION = [str(TESTS / "deployment"), MONTHS]
ELSE = [str(TESTS), *(f"--ignore={path}" for path in STACK + PRODUCTION)]
PARTS = {"stack": [*STACK, f"--ignore={MONTHS}"], "production": PRODUCTION, "parts": ELSE}


@dataclass(kw_only=True)
class Claim:
    """One row: its tests that are still to run, and what came of the others."""

    awaited: set[str] = field(default_factory=set)
    n_passed: int = 0
    failed: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def row(self, name: str) -> str:
        """One line of the table, and below it each figure and what failed."""
        n_tests = self.n_passed + len(self.failed)
        line = (
            f"{'SHORT' if self.failed else 'met':6} {name:14} {self.n_passed} of {n_tests} checks ({self.seconds:.0f} "
            "s)"
        )
        figures = [f"         {figure}" for figure in dict.fromkeys(self.figures)]
        return "\n".join([line, *figures, *(f"       ! {failure}" for failure in self.failed)])


class Table:
    """A pytest plugin that prints a claim's row once its last test has ended."""

    def __init__(self, only: set[str]) -> None:
        self.only = only
        self.known: set[str] = set()
        self.claims: dict[str, Claim] = defaultdict(Claim)
        self._claim_of: dict[str, str] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the claims that were asked for."""
        named = {item: mark.args[0] for item in items if (mark := item.get_closest_marker("claim"))}
        self.known = set(named.values())
        kept = [item for item in items if item in named and (not self.only or named[item] in self.only)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept
        for item in kept:
            self._claim_of[item.nodeid] = named[item]
            self.claims[named[item]].awaited.add(item.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that can't be read is no claim that holds."""
        if report.failed:
            self.claims["collection"].failed.append(
                f"{report.nodeid}: {report.longreprtext.strip().splitlines()[-1][:300]}"
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what came of a test, and print the row that it completes."""
        name = self._claim_of[report.nodeid]
        claim = self.claims[name]
        claim.seconds += report.duration
        if report.failed:
            said = [
                line for line in report.longreprtext.splitlines() if line.startswith("E ")
            ] or report.longreprtext.splitlines()
            claim.failed.append(f"{report.nodeid.rpartition('/')[2]} ({report.when}): {said[0][:300] if said else ''}")
        if report.when == "call":
            claim.n_passed += report.passed
        if report.when == "teardown":
            claim.figures += [str(value) for key, value in report.user_properties if key == "figure"]
            claim.awaited.discard(report.nodeid)
            if not claim.awaited:
                print(claim.row(name), flush=True)


def try_part(part: str) -> int:
    """Try the claims of one part in this process; what came of them goes to a file too."""
    table = Table({name for name in os.environ.get("ONLY", "").replace(",", " ").split() if name})
    # pytest's own output goes to a file: the screen is for the rows.
    arguments = [
        *PARTS[part],
        "--claims",
        "-p",
        "no:terminal",
        "-p",
        "no:cacheprovider",
        f"--junitxml={FOLDER / part}.xml",
    ]
    code = pytest.main(arguments, plugins=[table])
    short = sorted(name for name, claim in table.claims.items() if claim.failed or claim.awaited)
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.TESTS_FAILED}:
        short.append(f"pytest itself (exit {int(code)})")
    (FOLDER / f"{part}.json").write_text(
        json.dumps({"known": sorted(table.known), "tried": sorted(table.claims), "short": short})
    )
    return 1 if short else 0


def main() -> int:
    """Try the claims that `ONLY` names, or all."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    begun = monotonic()
    processes = {part: subprocess.Popen([sys.executable, "-m", "tests.acceptance", part]) for part in PARTS}
    codes = {part: process.wait() for part, process in processes.items()}
    told = [json.loads((FOLDER / f"{part}.json").read_text()) for part, code in codes.items() if code in {0, 1}]
    known, tried, short = ({name for found in told for name in found[key]} for key in ("known", "tried", "short"))
    if unknown := set(os.environ.get("ONLY", "").replace(",", " ").split()) - known:
        print(f"No claim is named {', '.join(sorted(unknown))}. There are: {', '.join(sorted(known))}")
        return 2
    print(
        f"\n{len(tried - short)} of {len(tried)} claims met in {monotonic() - begun:.0f} s; each test: {FOLDER}/*.xml"
    )
    if short:
        print(f"Short: {', '.join(sorted(short))}. One alone: make acceptance ONLY={min(short)}")
    return 0 if set(codes.values()) == {0} else 1


if __name__ == "__main__":
    sys.exit(try_part(sys.argv[1]) if sys.argv[1:] else main())

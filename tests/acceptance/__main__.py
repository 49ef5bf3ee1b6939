"""
`make acceptance`: what Updraft claims, tried on real parts; a row a claim with its figure, exit 1 when one falls short.

`ONLY=kills,backfill make acceptance` tries these alone, `make acceptance ONLY=help` names them all. A claim is a mark,
`@pytest.mark.claim("kills")`, on one test or several; what a test gives to `record_property("figure", …)` is printed with its row.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pytest

FOLDER = Path(__file__).resolve().parent
PROJECT_ROOT = FOLDER.parent.parent


@dataclass(kw_only=True)
class Claim:
    """One row: its tests that are still to run, and what came of the others."""

    awaited: set[str] = field(default_factory=set)
    n_passed: int = 0
    failed: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def row(self, name: str) -> str:
        """One line of the table, and below it what failed."""
        n_tests = self.n_passed + len(self.failed)
        figures = "; ".join(self.figures) or f"{self.n_passed} of {n_tests} checks"
        line = f"{'SHORT' if self.failed else 'met':6} {name:18} {figures}  ({self.seconds:.0f} s)"
        return "\n".join([line, *(f"       - {failure}" for failure in self.failed)])


class Table:
    """A pytest plugin that prints a claim's row once its last test has ended."""

    def __init__(self, only: set[str]) -> None:
        self.only = only
        self.claims: dict[str, Claim] = defaultdict(Claim)
        self._claim_of: dict[str, str] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the claims that were asked for."""
        named = {item: mark.args[0] for item in items if (mark := item.get_closest_marker("claim"))}
        known = set(named.values())
        if unknown := self.only - known:
            raise pytest.UsageError(f"no claim named {', '.join(sorted(unknown))}: there are {', '.join(sorted(known))}")
        kept = [item for item in items if item in named and (not self.only or named[item] in self.only)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
        for item in kept:
            self._claim_of[item.nodeid] = named[item]
            self.claims[named[item]].awaited.add(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what came of a test, and print the row that it completes."""
        name = self._claim_of[report.nodeid]
        claim = self.claims[name]
        claim.seconds += report.duration
        if report.failed:
            what = report.longreprtext.strip().splitlines()[-1:]
            claim.failed.append(f"{report.nodeid.rpartition('/')[2]} ({report.when}): {''.join(what)[:300]}")
        if report.when == "call":
            claim.n_passed += report.passed
            claim.figures += [str(value) for key, value in report.user_properties if key == "figure"]
        if report.when == "teardown":
            claim.awaited.discard(report.nodeid)
            if not claim.awaited:
                print(claim.row(name), flush=True)


def main() -> int:
    """Try the claims that `ONLY` names, or all."""
    only = {name for name in os.environ.get("ONLY", "").replace(",", " ").split() if name}
    table, begun = Table(only), monotonic()
    # pytest's own output goes to a file: the screen is for the rows.
    log = PROJECT_ROOT / ".updraft" / "acceptance.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    arguments = [str(FOLDER.parent), "--claims", "-q", "-p", "no:terminal", f"--junitxml={log.with_suffix('.xml')}"]
    code = pytest.main(arguments, plugins=[table])
    short = [name for name, claim in table.claims.items() if claim.failed or claim.awaited]
    met = f"{len(table.claims) - len(short)} of {len(table.claims)} claims met"
    print(f"\n{met} in {monotonic() - begun:.0f} s; details: {log.with_suffix('.xml')}")
    if short:
        print(f"Short: {', '.join(short)}. One alone: make acceptance ONLY={short[0]}")
    return 1 if short or code != pytest.ExitCode.OK else 0


if __name__ == "__main__":
    sys.exit(main())

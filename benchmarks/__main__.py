"""Run every benchmark, or those named on the command line: `python -m benchmarks dag_parse serving`."""

from __future__ import annotations

import importlib
import sys
import traceback
from time import monotonic

from benchmarks.report import Finding

BENCHMARKS = (
    *("dag_parse", "database_read", "validation", "modeling", "drift", "web_pages", "sensor_ingest"),
    *("serving", "task_chain", "backfill", "loop"),
)
NAMED_ONLY = ("model_selection",)  # hours of CPU time


def main(names: list[str]) -> int:
    """
    Print a table of findings as they come; the exit code says whether all could be measured, not whether all targets
    are met.
    """
    unknown = sorted(set(names) - {*BENCHMARKS, *NAMED_ONLY})
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}: there are {', '.join((*BENCHMARKS, *NAMED_ONLY))}")
        return 2
    findings: list[Finding] = []
    failed = []
    for name in names or BENCHMARKS:
        print(f"-- {name} …", flush=True)
        start = monotonic()
        try:
            found = importlib.import_module(f"benchmarks.{name}").measure()
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        findings += found
        for finding in found:
            print(finding.line(), flush=True)
        print(f"   ({monotonic() - start:.0f} s)", flush=True)
    met = sum(finding.is_met for finding in findings)
    print(f"\n{met} of {len(findings)} targets met" + (f"; could not measure: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

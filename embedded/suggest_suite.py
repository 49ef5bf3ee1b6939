"""
`python -m embedded.suggest_suite NAME` (`make suggest-suite NAME=…`): suggest a workflow's suite from what its lake
holds.
"""

from __future__ import annotations

import sys
from collections import Counter

from include.errors import UpdraftError

USAGE = "Usage: make suggest-suite NAME=flight_delays"


def main(arguments: list[str]) -> int:
    """Suggest, write, check that what was written loads, and say what there is to review."""
    if len(arguments) != 1 or not arguments[0]:
        print(USAGE, file=sys.stderr)
        return 2
    print("Loading Great Expectations", flush=True)
    from include.lake.store import open_lake
    from include.quality.suggestion import suggest_suite
    from include.quality.suite import load_suite
    from include.serving.server import find_workflow

    try:
        workflow = find_workflow(name=arguments[0])
        suggestion = suggest_suite(workflow, lake=open_lake(), progress=lambda line: print(f"  {line}", flush=True))
        path = suggestion.write_beside(workflow.expectations_path)
        suite = load_suite(path)
    except UpdraftError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    counts = Counter(rule.severity for rule in suite.rules)
    print(
        f"Suggested {len(suite.rules)} expectations from {suggestion.n_rows:,} rows of "
        f"{len(suggestion.partition_keys)} partitions:"
    )
    print("  " + ", ".join(f"{counts[severity]} of severity {severity}" for severity in ("stop", "quarantine", "warn")))
    print(f"Written to {path}")
    print(f"Review it, and copy what you agree with into {workflow.expectations_path.name}, which was not touched.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""
CPU seconds of what a training does beside fitting: features of 10,000 rows, and intervals of a week's rows by 500
resamples. Run: `python -m benchmarks.modeling`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.report import Finding, median_cpu_seconds
from include.evaluation.bootstrap import score_with_intervals
from include.evaluation.metrics import sort_rows
from include.modeling.features import builder_of_workflow
from include.modeling.frame import feature_columns_of, feature_frame
from include.workflow import Features
from tests.evaluation.rows import draw_labels, draw_scores
from tests.factories import declare_workflow

N_ROWS, N_COLUMNS, N_TEST_ROWS, N_RESAMPLES, REPEAT = 10_000, 30, 7_000, 500, 3


def measure() -> list[Finding]:
    """Seconds of both."""
    rng = np.random.default_rng(0)
    table = pa.table({f"c{i}": rng.normal(size=N_ROWS) for i in range(N_COLUMNS)})
    feature, y_true = draw_labels(rng, N_TEST_ROWS)
    rows = sort_rows(y_true, draw_scores(rng, feature, noise=0.5))
    with tempfile.TemporaryDirectory() as folder:
        builder = builder_of_workflow(declare_workflow(Path(folder) / "w", features=Features()), table.schema)

        def make_features() -> None:
            features = builder.build_table(table)
            if feature_frame(features, feature_columns_of(features)).shape != (N_ROWS, N_COLUMNS):
                raise RuntimeError("not every row and column became a feature")

        frame, intervals = median_cpu_seconds(
            make_features, lambda: score_with_intervals(rows, random_state=0, n_bootstrap=N_RESAMPLES), repeat=REPEAT
        )
    return [
        Finding(what=f"features of {N_ROWS:,} rows × {N_COLUMNS}", observed=frame, bound=1.5, unit=" CPU s"),
        Finding(
            what=f"intervals of {N_TEST_ROWS:,} rows by {N_RESAMPLES} resamples",
            observed=intervals,
            bound=2,
            unit=" CPU s",
        ),
    ]


if __name__ == "__main__":
    for finding in measure():
        print(finding.line())

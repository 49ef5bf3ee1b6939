"""Drift of 100,000 rows of 20 features, against the stored profile and against the training rows themselves."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp

from benchmarks.report import Finding, median_cpu_seconds
from include.modeling.profile import PROFILE_FILE, TrainingProfile, profile_values, read_profile
from include.monitoring.drift import judge_counts
from include.workflow import Drift

N_ROWS, N_FEATURES, REPEAT = 100_000, 20, 5


def measure() -> list[Finding]:
    """
    CPU time of a window's verdict beside scipy's two-sample test feature by feature; both find the one feature that
    moved.
    """
    rng = np.random.default_rng(0)
    trained, window = rng.normal(size=(2, N_FEATURES, N_ROWS))
    window[3] += 0.5
    times = np.datetime64("2026-01-05T00:00") + (np.arange(N_ROWS) * 30).astype("timedelta64[s]")
    profiles = tuple(profile_values(f"f{i}", "number", values, times) for i, values in enumerate(trained))
    stored = TrainingProfile(n_rows=N_ROWS, start="", end="", features=profiles, prediction=None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / PROFILE_FILE).write_bytes(stored.to_json())

        def ours() -> list[str]:
            profile = read_profile(folder)
            if profile is None:
                raise RuntimeError("the profile is gone")
            counted = [(item, item.count(values)) for item, values in zip(profile.features, window, strict=True)]
            found = judge_counts(counted, n_rows=N_ROWS, settings=Drift(), every="day")
            return [item.name for item in found.features if item.verdict == "drift"]

        def scipys() -> list[str]:
            statistics = [ks_2samp(old, new).statistic for old, new in zip(trained, window, strict=True)]
            return [f"f{i}" for i, statistic in enumerate(statistics) if statistic > 0.1]

        if ours() != scipys() or ours() != ["f3"]:
            raise RuntimeError(f"the two ways disagree: {ours()} and {scipys()}")
        own, other = median_cpu_seconds(ours, scipys, repeat=REPEAT)
        size_kb = (folder / PROFILE_FILE).stat().st_size / 1e3
    rows_mb = N_ROWS * N_FEATURES * 8 / 1e6
    shape = f"{N_ROWS // 1000}k × {N_FEATURES}"
    return [
        Finding(
            what=f"drift {shape}: times quicker than scipy's ks_2samp, loop",
            observed=other / own,
            bound=5,
            at_least=True,
            note=f"{own * 1000:.0f} ms against {other * 1000:.0f} ms; the profile is {size_kb:.0f} kB, the rows "
            f"{rows_mb:.0f} MB",
        )
    ]

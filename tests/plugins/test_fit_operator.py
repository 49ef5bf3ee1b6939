"""What `fit` registers is told by the model that was fitted, not by the head of the leaderboard."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest

from include.lake.store import open_lake
from include.modeling.model import read_manifest
from include.modeling.search import leaderboard, run_trials
from include.modeling.snapshot import pin_snapshot
from include.registry import open_registry, read_version, version_folder
from include.workflow import Search, Training
from tests.factories import days, parcel_rows
from tests.modeling.published import AS_OF, N_DAYS, declare_short, publish, validated
from updraft.operators.train import FitOperator

pytestmark = pytest.mark.claim("loop")


def coin_tosses(rows: pa.Table, seed: int) -> pa.Table:
    """The same rows with labels that nothing foretells: no model beats the baseline's log loss."""
    labels = pa.array(np.random.default_rng(seed).random(rows.num_rows) < 0.5)
    return rows.set_column(rows.schema.get_field_index("is_late"), "is_late", labels)


def test_params_are_the_winners_though_the_baseline_leads(tmp_path, monkeypatch):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    lake = open_lake()
    training = Training(
        window="4 days",
        validation="1 day",
        test="2 days",
        minimum_rows=100,
        search=Search(metric="log_loss", families=("extra_trees",)),
    )
    workflow = declare_short(tmp_path / "parcels", training=training)
    for seed, day in enumerate(days(N_DAYS)):
        publish(workflow, lake, day, validated(coin_tosses(parcel_rows(day=day, n_rows=60), seed)))
    snapshot = pin_snapshot(workflow, AS_OF, lake=lake)
    run_trials(workflow, snapshot, lake=lake, training_id="t1", worker=0, n_workers=1, budget_seconds=60, max_trials=1)
    assert leaderboard(workflow, lake, "t1")[0].is_naive

    fit = FitOperator(task_id="fit", workflow=workflow, training={"snapshot": asdict(snapshot), "training_id": "t1"})
    registered = fit.execute({"params": {}, "run_id": "manual__1"})

    registry = open_registry()
    found = read_version(registry, workflow.name, registered["version"])
    params = registry.client.get_run(found.run_id).data.params
    with version_folder(registry, found) as folder:
        manifest = read_manifest(folder)
    assert params == {"family": manifest.family, **{name: str(value) for name, value in manifest.params.items()}}
    assert params["family"] != "naive"
    assert manifest.created_by_run == "manual__1"

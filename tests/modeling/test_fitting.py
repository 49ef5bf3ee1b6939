"""The package that a training leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from include.errors import TrainingError
from include.modeling.fitting import fit_model
from include.modeling.model import Golden, load_model, manifest_digest, read_golden
from include.modeling.schema import coerce_row
from include.modeling.search import leaderboard, run_trials
from include.modeling.snapshot import read_snapshot
from include.workflow import Search, Workflow
from tests.modeling.conftest import Trained
from tests.modeling.published import declare_short


def test_a_package_predicts_its_golden_rows_from_json(trained: Trained) -> None:
    model, golden = trained.load(), read_golden(trained.folder)
    assert isinstance(golden, Golden)
    assert len(golden.rows) == 50
    served = model.predict([coerce_row(model.manifest.input_columns, row) for row in golden.rows])
    np.testing.assert_array_equal(served, golden.predictions)


def test_the_model_has_learned(trained: Trained) -> None:
    """The parcels' Bayes AUC is about 0.8: a model at chance has learned nothing, one above 0.9 has seen the labels."""
    from sklearn.metrics import roc_auc_score

    test = read_snapshot(trained.workflow, trained.snapshot, lake=trained.lake, part="test")
    auc = roc_auc_score(test["is_late"].to_pylist(), trained.load().predict(test))
    assert 0.7 < auc < 0.9


def test_the_manifest_tells_what_the_model_was_made_of(trained: Trained) -> None:
    manifest = trained.manifest
    assert manifest.feature_names == ("depot", "distance_km", "weight_kg", "hour", "is_heavy")
    assert [column.name for column in manifest.input_columns] == [
        "parcel_id",
        "sent_at",
        "depot",
        "distance_km",
        "weight_kg",
    ]
    assert "is_late" in manifest.hidden_columns
    assert manifest.trained_rows["n_rows"] == trained.snapshot.n_train + trained.snapshot.n_validation
    assert sorted(manifest.files) == ["features.py", "golden.json", "model.skops"]


def test_training_again_gives_the_same_digest(trained: Trained, tmp_path: Path) -> None:
    """Same rows, seed and trials in another search, run and folder; another seed is the control."""
    for training_id, workflow in (("t2", trained.workflow), ("t3", _reseed(trained.workflow))):
        run_trials(
            workflow,
            trained.snapshot,
            lake=trained.lake,
            training_id=training_id,
            worker=0,
            n_workers=1,
            budget_seconds=60,
            max_trials=3,
        )
    again = fit_model(
        trained.workflow,
        trained.snapshot,
        lake=trained.lake,
        training_id="t2",
        folder=tmp_path / "a",
        created_by_run="run-2",
    )
    assert manifest_digest(again) == trained.digest
    assert (tmp_path / "a" / "model.skops").read_bytes() == (trained.folder / "model.skops").read_bytes()
    reseeded = _reseed(trained.workflow)
    other = fit_model(reseeded, trained.snapshot, lake=trained.lake, training_id="t3", folder=tmp_path / "b")
    assert manifest_digest(other) != trained.digest


def _reseed(workflow: Workflow) -> Workflow:
    training = workflow.training.model_copy(update={"random_state": 7})
    return workflow.model_copy(update={"training": training})


def test_the_training_file_holds_the_leaderboard(trained: Trained) -> None:
    content = json.loads((trained.folder / "training.json").read_text())
    assert [trial["family"] for trial in content["leaderboard"]][-1] == "naive"
    assert len(content["leaderboard"]) == len(leaderboard(trained.workflow, trained.lake, "t1")) == 4


def test_a_search_without_a_model_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="search 'nobody' has no model beside the naive baseline \\(none was tried"):
        fit_model(trained.workflow, trained.snapshot, lake=trained.lake, training_id="nobody", folder=tmp_path)


def test_a_builder_that_remembers_is_refused(trained: Trained, tmp_path: Path) -> None:
    """A feature that counts calls can't be served: the package is refused where it is made."""
    folder = tmp_path / "parcels"
    search = Search(families=("linear",))
    training = declare_short(folder).training.model_copy(update={"search": search})
    workflow = declare_short(folder, training=training)
    (folder / "features.py").write_text(
        "calls = []\ndef build(row):\n    calls.append(1)\n    return {'n': len(calls) % 7, 'd': row['distance_km']}\n"
    )
    run_trials(
        workflow,
        trained.snapshot,
        lake=trained.lake,
        training_id="t4",
        worker=0,
        n_workers=1,
        budget_seconds=9,
        max_trials=1,
    )
    with pytest.raises(TrainingError, match="depend on nothing but its row"):
        fit_model(workflow, trained.snapshot, lake=trained.lake, training_id="t4", folder=tmp_path / "package")


def test_a_fitted_package_can_be_written_over(trained: Trained, tmp_path: Path) -> None:
    for _ in range(2):
        manifest = fit_model(trained.workflow, trained.snapshot, lake=trained.lake, training_id="t1", folder=tmp_path)
    assert load_model(tmp_path, expected_digest=manifest_digest(manifest)).manifest.family == trained.manifest.family

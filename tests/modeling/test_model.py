"""A package is verified to the byte before anything of it is read."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from include.errors import DeclarationError, TamperedModelError, TrainingError
from include.modeling.model import Model, load_model, manifest_digest, read_manifest, save_model
from include.modeling.stored_form import dump_pipeline, load_pipeline
from tests.modeling.conftest import Trained


@pytest.fixture
def package(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the trained package, to tamper with."""
    return Path(shutil.copytree(trained.folder, tmp_path / "package"))


class _Marker:
    """Unpickling this writes a file: what a hostile model would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, bytes]]:
        return _leave_mark, (str(self.path), b"executed")


def _leave_mark(path: str, data: bytes) -> int:
    return Path(path).write_bytes(data)


def flip_bit(folder: Path) -> None:
    data = bytearray((folder / "model.skops").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.skops").write_bytes(data)


def add_file(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("raise SystemExit")


def add_folder(folder: Path) -> None:
    (folder / "code").mkdir()


def add_link(folder: Path) -> None:
    (folder / "figures").mkdir()
    (folder / "figures" / "a.png").symlink_to("/etc/passwd")


def change_features(folder: Path) -> None:
    (folder / "features.py").write_text("raise SystemExit(99)\n")


def change_manifest(folder: Path) -> None:
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**values, "positive": False}))


def change_manifest_with_model(folder: Path) -> None:
    """Somebody who can write all files, but not what the registry recorded."""
    import hashlib

    change_features(folder)
    values = json.loads((folder / "manifest.json").read_text())
    values["files"]["features.py"] = hashlib.sha256((folder / "features.py").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(values))


def add_to_manifest(folder: Path) -> None:
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**values, "loader_module": "os"}))


def remove_file(folder: Path) -> None:
    (folder / "golden.json").unlink()


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def replace_by_pickle(folder: Path) -> None:
    (folder / "model.skops").write_bytes(pickle.dumps(_Marker(folder.parent / "mark")))


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (flip_bit, "model.skops in .* has digest .*…, but .*… is recorded: restore the package"),
        (add_file, "holds 'sitecustomize.py', which its manifest does not list"),
        (add_folder, "holds 'code', which its manifest does not list"),
        (add_link, "holds 'figures/a.png', which its manifest does not list"),
        (change_features, "features.py in .* has digest"),
        (change_manifest, "the manifest in .* has digest .*… is recorded: register the model again"),
        (change_manifest_with_model, "the manifest in .* has digest"),
        (add_to_manifest, r"manifest.json is missing or no manifest: restore the package"),
        (remove_file, "lacks golden.json, which its manifest lists"),
        (remove_manifest, r"manifest.json is missing or no manifest"),
        (replace_by_pickle, "model.skops in .* has digest"),
    ],
)
def test_a_changed_package_is_refused(
    trained: Trained, package: Path, tamper: Callable[[Path], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before skops reads a byte and before the feature module runs: both would be noticed here."""
    monkeypatch.setattr("include.modeling.model.load_pipeline", lambda _: pytest.fail("skops was asked"))
    tamper(package)
    with pytest.raises(TamperedModelError, match=message):
        load_model(package, expected_digest=trained.digest)
    assert not (package.parent / "mark").exists()


def test_an_older_package_is_refused(trained: Trained, package: Path) -> None:
    """Whole in itself, but not the one that is asked for."""
    manifest = trained.manifest
    older = replace(manifest, as_of="2025-01-01T00:00:00+00:00")
    values = {**json.loads((package / "manifest.json").read_text()), "as_of": older.as_of}
    (package / "manifest.json").write_text(json.dumps(values))
    load_model(package, expected_digest=manifest_digest(older))
    with pytest.raises(TamperedModelError, match="register the model again"):
        load_model(package, expected_digest=trained.digest)


def test_plain_loaders_would_have_taken_them(trained: Trained, package: Path, tmp_path: Path) -> None:
    """The control: joblib runs the pickle, and skops loads a file that was swapped for another model's."""
    import joblib

    replace_by_pickle(package)
    joblib.load(package / "model.skops")
    assert (tmp_path / "mark").read_bytes() == b"executed"
    (package / "model.skops").write_bytes(skops.io.dumps(KNeighborsClassifier()))
    assert isinstance(skops.io.load(package / "model.skops"), KNeighborsClassifier)


def test_what_is_added_later_is_no_part_of_the_model(trained: Trained, package: Path) -> None:
    (package / "figures").mkdir()
    for name in ("evaluation.json", "decision.json", "card.md", "figures/calibration.png"):
        (package / name).write_text("later")
    assert isinstance(load_model(package, expected_digest=trained.digest), Model)


def test_the_digest_leaves_out_who_trained_it(trained: Trained) -> None:
    manifest = trained.manifest
    assert manifest_digest(replace(manifest, training_id="other", created_by_run="other")) == trained.digest
    for changes in ({"as_of": "x"}, {"files": {}}, {"random_state": 1}, {"positive": 1.5}, {"family": "x"}):
        assert manifest_digest(replace(manifest, **changes)) != trained.digest  # type: ignore[arg-type]
    assert read_manifest(trained.folder) == replace(manifest, snapshot=dict(manifest.snapshot))


def test_the_copied_features_are_served_when_the_workflows_file_changes(trained: Trained, package: Path) -> None:
    source = (trained.workflow.folder / "features.py").read_text()
    rows = [{"sent_at": None, "depot": "north", "distance_km": 100.0, "weight_kg": 3.0}]
    try:
        (trained.workflow.folder / "features.py").write_text("def build(row):\n    return {}\n")
        with pytest.raises(Exception, match="AttributeError"):  # the function that was trained reads sent_at.hour
            trained.load().predict(rows)
    finally:
        (trained.workflow.folder / "features.py").write_text(source)


def test_a_package_from_before_manifests_gained_fields_is_loaded(trained: Trained, package: Path) -> None:
    """
    By the digest that it was registered with. A gained field that says something else is another model:
    the control.
    """
    path = package / "manifest.json"
    values = {
        name: value for name, value in json.loads(path.read_text()).items() if name not in ("classes", "threshold")
    }
    path.write_text(json.dumps(values))
    assert load_model(package, expected_digest=trained.digest).manifest.threshold == 0.5
    path.write_text(json.dumps({**values, "threshold": 0.4}))
    with pytest.raises(TamperedModelError, match="the manifest in"):
        load_model(package, expected_digest=trained.digest)


def test_no_rows_give_no_predictions(trained: Trained) -> None:
    assert trained.load().predict([]).shape == (0,)


def test_a_package_whose_module_does_not_run_here_is_no_tampering(trained: Trained, tmp_path: Path) -> None:
    model = trained.load()
    builder = model.builder
    builder.source = b"import no_such_library\ndef build(row):\n    return {}\n"
    manifest = save_model(
        tmp_path, manifest=model.manifest, pipeline=model.pipeline, builder=builder, golden=_golden(trained)
    )
    with pytest.raises(
        DeclarationError,
        match=r"is as it was recorded, but does not run here: features.py does not run: ModuleNotFound",
    ):
        load_model(tmp_path, expected_digest=manifest_digest(manifest))


def test_a_package_without_a_function_holds_no_module(trained: Trained, tmp_path: Path) -> None:
    model = trained.load()
    model.builder.source = None
    save_model(
        tmp_path, manifest=model.manifest, pipeline=model.pipeline, builder=model.builder, golden=_golden(trained)
    )
    assert not (tmp_path / "features.py").exists()


def _golden(trained: Trained):  # type: ignore[no-untyped-def]
    from include.modeling.model import read_golden

    return read_golden(trained.folder)


def test_types_that_no_family_has_are_neither_stored_nor_loaded() -> None:
    """Though skops itself would trust them."""
    for stranger in (GaussianNB(), Pipeline([("f", FunctionTransformer(np.exp))])):
        with pytest.raises(TrainingError, match="which no stored model may"):
            dump_pipeline(stranger)
        data = skops.io.dumps(stranger)
        skops.io.loads(data)
        with pytest.raises(TamperedModelError, match="which no model of ours does: nothing was loaded"):
            load_pipeline(data)


@pytest.mark.parametrize("data", [b"", b"no zip", pickle.dumps(1)])
def test_bytes_that_are_no_skops_file_are_refused(data: bytes) -> None:
    with pytest.raises(TamperedModelError, match=r"model.skops is no skops file"):
        load_pipeline(data)


def test_an_archive_with_another_schema_is_refused() -> None:
    for schema in (b"[]", b"{", b'{"__loader__": "x"}'):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("schema.json", schema)
        with pytest.raises(TamperedModelError):
            load_pipeline(buffer.getvalue())


BESIDE_AIRFLOW = """
import logging, sys, warnings
from pathlib import Path
logging.captureWarnings(True)
import airflow.sdk
from airflow.models import dag
logging.basicConfig(level=0, stream=sys.stdout, force=True, format="%(name)s %(message)s")
from include.modeling.model import load_model
load_model(Path(sys.argv[1]), expected_digest=sys.argv[2])
print("loaded")
for name in [name for name in sys.modules if name.startswith("skops")]:
    del sys.modules[name]
warnings.resetwarnings()
import skops.io
"""


@pytest.mark.claim("loop")
def test_loading_beside_airflow_warns_of_nothing(trained: Trained) -> None:
    """
    The import of skops touches every name of every loaded module, Airflow's deprecated ones too: a plain import is the
    control.
    """
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", BESIDE_AIRFLOW, str(trained.folder), trained.digest]
    environ = {**os.environ, "PYTHONPATH": str(root), "AIRFLOW__CORE__UNIT_TEST_MODE": "True"}
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=True, timeout=120)
    quiet, _, noisy = done.stdout.partition("loaded\n")
    assert "Deprecat" not in quiet
    assert "Deprecat" in noisy
    assert "Deprecat" not in done.stderr

"""Versions: registered once, found, loaded only as they were registered."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from include.errors import ModelVersionNotFoundError, RegistryError, TamperedModelError
from include.modeling.model import load_model, manifest_digest, read_manifest
from include.registry import add_files, load_version, read_version, register_version, set_alias, version_of_alias
from tests.factories import declare_workflow, parcel_rows
from tests.registry.house import House
from tests.registry.processes import register_in, run_killed


def runs_of(house: House) -> list[str]:
    experiment = house.registry.client.get_experiment_by_name("parcels")
    return [run.info.run_id for run in house.registry.client.search_runs([experiment.experiment_id])]


def versions_of(house: House) -> list[str]:
    return sorted(str(found.version) for found in house.registry.client.search_model_versions("name = 'parcels'"))


def files_of(house: House, version: str) -> Path:
    return Path(read_version(house.registry, "parcels", version).uri)


def test_a_version_holds_package_params_and_metrics(house: House) -> None:
    version = house.register("monday3")
    found = read_version(house.registry, "parcels", version)
    manifest = read_manifest(house.packages / "monday3")
    run = house.registry.client.get_run(found.run_id)
    assert (found.model_digest, found.as_of) == (manifest_digest(manifest), "2026-01-26T00:00:00+00:00")
    assert run.data.params == {"family": "x"}
    assert run.data.metrics == {"validation": 0.5}
    assert {path.name for path in Path(found.uri).iterdir()} >= {
        "manifest.json",
        "model.skops",
        "golden.json",
        "features.py",
    }


def test_a_training_is_registered_once(house: House) -> None:
    assert house.register("monday3") == house.register("monday3") == "1"
    assert house.register("monday4") == "2"
    assert versions_of(house) == ["1", "2"]
    assert len(runs_of(house)) == 2


@pytest.mark.claim("kills")
@pytest.mark.parametrize("crash_at", ["register.before_files", "register.before_version", "register.after_version"])
def test_killed_while_registering_a_rerun_completes_it(house: House, crash_at: str) -> None:
    run_killed(register_in, house.settings.home, house.packages, "monday3", crash_at)
    assert house.register("monday3") == "1"
    assert versions_of(house) == ["1"]
    assert len(runs_of(house)) == 1
    assert load_version(house.registry, "parcels", "1").manifest.training_id == "monday3"


def test_two_tries_at_once_go_on_with_one_version(house: House) -> None:
    version = house.register("monday3")
    found = read_version(house.registry, "parcels", version)
    tags = {"updraft.training_id": "monday3", "updraft.model_digest": found.model_digest, "updraft.as_of": found.as_of}
    house.registry.client.create_model_version("parcels", source=found.uri, run_id=found.run_id, tags=tags)
    assert house.register("monday3") == version


def test_a_loaded_version_predicts_as_its_package(house: House) -> None:
    version = house.register("monday3b")
    rows = parcel_rows(n_rows=50)
    folder = house.packages / "monday3b"
    expected = load_model(folder, expected_digest=manifest_digest(read_manifest(folder))).predict(rows)
    assert np.array_equal(load_version(house.registry, "parcels", version, lake=house.lake).predict(rows), expected)


def test_a_version_addressed_as_file_uri_is_read_in_place(house: House) -> None:
    version = house.register("monday3")
    found = read_version(house.registry, "parcels", version)
    tags = {"updraft.training_id": "other", "updraft.model_digest": found.model_digest, "updraft.as_of": found.as_of}
    made = house.registry.client.create_model_version(
        "parcels", source=Path(found.uri).as_uri(), run_id=found.run_id, tags=tags
    )
    assert load_version(house.registry, "parcels", str(made.version)).manifest.training_id == "monday3"


def flip_a_bit(files: Path, packages: Path) -> None:
    data = bytearray((files / "model.skops").read_bytes())
    data[len(data) // 2] ^= 1
    (files / "model.skops").write_bytes(data)


def add_a_file(files: Path, packages: Path) -> None:
    (files / "sitecustomize.py").write_text("raise SystemExit('executed')")


def swap_metadata(files: Path, packages: Path) -> None:
    manifest = json.loads((files / "manifest.json").read_text())
    (files / "manifest.json").write_text(json.dumps({**manifest, "positive": False}))


class Marker:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


def disguise_a_pickle(files: Path, packages: Path) -> None:
    (files / "model.skops").write_bytes(pickle.dumps(Marker()))


def bring_an_older_version(files: Path, packages: Path) -> None:
    for name in ("manifest.json", "model.skops", "golden.json", "features.py"):
        shutil.copy(packages / "monday3" / name, files / name)


TAMPERINGS = [flip_a_bit, add_a_file, swap_metadata, disguise_a_pickle, bring_an_older_version]


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_a_tampered_version_is_refused_before_it_is_loaded(house: House, tamper: Callable[[Path, Path], None]) -> None:
    version = house.register("monday4")
    assert load_version(house.registry, "parcels", version)  # the control: untouched, it loads
    tamper(files_of(house, version), house.packages)
    with pytest.raises(TamperedModelError):
        load_version(house.registry, "parcels", version)


def test_who_can_write_files_and_registry_still_meets_the_ledger(house: House) -> None:
    version, older = house.register("monday4"), house.register("monday3")
    house.decide(version, None)
    bring_an_older_version(files_of(house, version), house.packages)
    digest = read_version(house.registry, "parcels", older).model_digest
    house.registry.client.set_model_version_tag("parcels", version, "updraft.model_digest", digest)
    # the control: without the ledger the exchange goes unnoticed
    assert load_version(house.registry, "parcels", version)
    with pytest.raises(TamperedModelError, match="was judged as"):
        load_version(house.registry, "parcels", version, lake=house.lake)


def test_files_that_are_gone_are_named(house: House) -> None:
    version = house.register("monday3")
    shutil.rmtree(files_of(house, version))
    with pytest.raises(TamperedModelError, match="are gone from"):
        load_version(house.registry, "parcels", version)


def test_a_version_that_was_made_by_hand_is_refused(house: House) -> None:
    house.register("monday3")
    made = house.registry.client.create_model_version("parcels", source="/nowhere")
    with pytest.raises(TamperedModelError, match="lacks Updraft's tags"):
        load_version(house.registry, "parcels", str(made.version))


@pytest.mark.parametrize("version", ["7", "0", "-1", "1; DROP", "1\0", "", "latest"])
def test_a_missing_version_is_not_found(house: House, version: str) -> None:
    house.register("monday3")
    with pytest.raises(ModelVersionNotFoundError):
        load_version(house.registry, "parcels", version)


@pytest.mark.parametrize("name", ["", "Parcels", "a\0b", "../parcels", "a" * 41, "par'cels", None])
def test_only_workflow_names_reach_the_registry(house: House, name: str) -> None:
    with pytest.raises(RegistryError, match="is no model name"):
        read_version(house.registry, name, "1")


def test_a_package_is_registered_under_its_own_training_only(house: House, tmp_path: Path) -> None:
    folder = house.packages / "monday3"
    other = declare_workflow(tmp_path / "other", name="other")
    for workflow, training_id, message in (
        (house.workflow, "monday4", "not of 'monday4'"),
        (other, "monday3", "not of 'monday3' of 'other'"),
        (house.workflow, "it's", "is malformed"),
    ):
        with pytest.raises(RegistryError, match=message):
            register_version(house.registry, workflow, folder, training_id=training_id, metrics={}, params={})


def test_a_number_that_is_not_finite_is_not_logged(house: House) -> None:
    folder = house.packages / "monday3"
    version = register_version(
        house.registry, house.workflow, folder, training_id="monday3", metrics={"a": float("nan"), "b": 1}, params={}
    )
    assert house.registry.client.get_run(version.run_id).data.metrics == {"b": 1.0}


def test_aliases(house: House) -> None:
    assert version_of_alias(house.registry, "parcels", "champion") is None
    version = house.register("monday3")
    assert version_of_alias(house.registry, "parcels", "champion") is None
    set_alias(house.registry, "parcels", "champion", version)
    assert version_of_alias(house.registry, "parcels", "champion") == version
    set_alias(house.registry, "parcels", "champion", None)
    assert version_of_alias(house.registry, "parcels", "champion") is None
    with pytest.raises(RegistryError, match="malformed"):
        set_alias(house.registry, "parcels", "Champion!", version)
    with pytest.raises(ModelVersionNotFoundError):
        set_alias(house.registry, "parcels", "champion", "9")


def test_only_what_tells_about_a_model_is_added_to_it(house: House, tmp_path: Path) -> None:
    version = house.register("monday3")
    folder = tmp_path / "more"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "roc.png").write_bytes(b"png")
    (folder / "card.md").write_text("# Card")
    add_files(house.registry, "parcels", version, folder)
    assert (files_of(house, version) / "figures" / "roc.png").read_bytes() == b"png"
    assert load_version(house.registry, "parcels", version)
    (folder / "model.skops").write_bytes(b"other")
    with pytest.raises(RegistryError, match=r"model\.skops cannot be added"):
        add_files(house.registry, "parcels", version, folder)


def test_an_unwritable_place_of_files_is_unavailable(house: House, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    registry = replace(house.registry, artifacts_uri=str(tmp_path / "blocked"))
    with pytest.raises(RegistryError) as caught:
        register_version(
            registry, house.workflow, house.packages / "monday3", training_id="monday3", metrics={}, params={}
        )
    assert caught.value.is_retryable

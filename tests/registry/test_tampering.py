"""
Five kinds of tampering with a stored model: each is refused before a byte of it is loaded, and what would have run
leaves no mark.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest

from include.errors import EvidenceError, TamperedModelError
from include.modeling.model import manifest_digest, read_manifest
from include.modeling.stored_form import load_pipeline
from include.registry import load_version, read_version
from include.registry.evidence import require_evidence
from include.registry.reproduction import reproduce_version
from tests.registry.house import House
from tests.registry.test_versions import files_of

PACKAGE = ("manifest.json", "model.skops", "golden.json", "features.py")


class Marker:
    """Unpickling it touches a file: what a hostile model would do."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def version(house: House) -> str:
    """A registered and judged version; the one to be attacked."""
    version = house.register("monday4")
    house.decide(version, None)
    return version


def refused(house: House, version: str) -> None:
    with pytest.raises(TamperedModelError):
        load_version(house.registry, "parcels", version, lake=house.lake)
    with pytest.raises(TamperedModelError):
        require_evidence(house.workflow, version, lake=house.lake, registry=house.registry)


def change_with_all_digests(house: House, version: str, name: str, data: bytes) -> None:
    """Somebody who can write the files and the registry makes the package whole again."""
    folder = files_of(house, version)
    (folder / name).write_bytes(data)
    values = json.loads((folder / "manifest.json").read_text())
    values["files"][name] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(values))
    digest = manifest_digest(read_manifest(folder))
    house.registry.client.set_model_version_tag("parcels", version, "updraft.model_digest", digest)


def test_a_flipped_bit_in_any_file_is_refused(house: House, version: str) -> None:
    for name in PACKAGE:
        path = files_of(house, version) / name
        data = path.read_bytes()
        path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
        refused(house, version)
        path.write_bytes(data)
        assert load_version(house.registry, "parcels", version, lake=house.lake)  # the control: mended, it loads


@pytest.mark.parametrize(
    "name", ["sitecustomize.py", ".hidden", "figures.pkl", "code/loader.py", "model.skops.pkl", "MLmodel"]
)
def test_an_added_file_is_refused(house: House, version: str, name: str) -> None:
    path = files_of(house, version) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("import os; os.mkdir('mark')")
    refused(house, version)


def test_the_metadata_of_another_version_is_refused(house: House, version: str) -> None:
    shutil.copy(house.packages / "monday3" / "manifest.json", files_of(house, version) / "manifest.json")
    refused(house, version)


def test_swapped_metadata_is_refused_though_the_registry_agrees(house: House, version: str) -> None:
    folder = files_of(house, version)
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**values, "as_of": "2036-01-01T00:00:00+00:00"}))
    digest = manifest_digest(read_manifest(folder))
    house.registry.client.set_model_version_tag("parcels", version, "updraft.model_digest", digest)
    assert load_version(house.registry, "parcels", version)  # the control: without the ledger it goes unnoticed
    refused(house, version)


def in_the_archive(data: bytes, payload: bytes) -> bytes:
    """A skops file in which every array is replaced by a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, payload if name.endswith(".npy") else archive.read(name))
    return buffer.getvalue()


def object_array(marker: Marker) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([marker], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def test_a_pickle_in_disguise_never_runs(house: House, version: str, tmp_path: Path) -> None:
    """
    As `model.skops`, as an array within it, bare or in NumPy's own form; with all digests made to agree, and no ledger
    asked.
    """
    mark = tmp_path / "mark"
    pickled = pickle.dumps(Marker(mark))
    stored = (files_of(house, version) / "model.skops").read_bytes()
    for disguise in (pickled, in_the_archive(stored, pickled), in_the_archive(stored, object_array(Marker(mark)))):
        change_with_all_digests(house, version, "model.skops", disguise)
        refused(house, version)
        with pytest.raises(TamperedModelError, match=r"model\.skops"):
            load_version(house.registry, "parcels", version)
        with pytest.raises(TamperedModelError):
            load_pipeline(disguise)
        assert not mark.exists()
    path = tmp_path / "disguised"
    path.write_bytes(pickled)
    joblib.load(path)  # the control: a plain loader runs it
    assert mark.exists()


def test_hostile_features_never_run_where_the_ledger_is_asked(house: House, version: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    source = (files_of(house, version) / "features.py").read_bytes()
    change_with_all_digests(house, version, "features.py", source + f"\nimport os; os.mkdir({str(mark)!r})\n".encode())
    refused(house, version)
    with pytest.raises(TamperedModelError):
        house.judge(version)
    assert not reproduce_version(house.workflow, version, lake=house.lake, registry=house.registry).is_equal
    assert not mark.exists()
    load_version(house.registry, "parcels", version)  # the control: by the registry's word alone they are run
    assert mark.exists()


def test_an_older_signed_version_in_the_place_of_a_newer_one_is_refused(house: House, version: str) -> None:
    """Both are whole and judged; files, tag, even the decision of the older one are put in the newer one's place."""
    older = house.register("monday3")
    house.decide(older, None)
    for name in PACKAGE:
        shutil.copy(files_of(house, older) / name, files_of(house, version) / name)
    with pytest.raises(TamperedModelError):
        load_version(house.registry, "parcels", version)
    digest = read_version(house.registry, "parcels", older).model_digest
    house.registry.client.set_model_version_tag("parcels", version, "updraft.model_digest", digest)
    assert load_version(house.registry, "parcels", version)  # the control: without the ledger it goes unnoticed
    refused(house, version)
    relabel_the_decision(house, older, version)
    with pytest.raises(EvidenceError, match=r"line 2 \(version 1, PROMOTE\) was changed after it was written"):
        require_evidence(house.workflow, version, lake=house.lake, registry=house.registry)


def relabel_the_decision(house: House, older: str, version: str) -> None:
    from include.lake.ledger import DECISIONS
    from include.lake.store import open_table

    open_table(house.lake, DECISIONS).update(
        predicate=f"model_version = '{older}'", updates={"model_version": f"'{version}'"}
    )

"""A version is rebuilt from its manifest: to the byte, or what differs is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import ModelVersionNotFoundError, ReproductionError
from include.lake.ledger import DECISIONS
from include.lake.store import open_table
from include.modeling.model import manifest_digest, read_manifest
from include.registry.reproduction import Reproduction, choose_version, reproduce_version
from tests.registry.house import House, with_gate
from tests.registry.test_versions import TAMPERINGS, files_of

pytestmark = pytest.mark.claim("reproduction")


def reproduced(house: House, version: str, **changes: Any) -> Reproduction:
    return reproduce_version(changes.get("workflow", house.workflow), version, lake=house.lake, registry=house.registry)


@pytest.mark.parametrize("training", ["monday3", "monday3b", "monday4"])
def test_a_version_is_rebuilt_to_the_byte(house: House, training: str) -> None:
    """By the declaration that it was trained by, of which the house's differs."""
    version = house.register(training)
    house.decide(version, None, seed=0)
    done = reproduced(house, version)
    assert done.is_equal
    assert done.rebuilt_digest == done.recorded_digest == manifest_digest(read_manifest(house.packages / training))
    assert done.differences == ()
    done.require_equal()


def rewrite_manifest(house: House, version: str, **changes: Any) -> None:
    """Somebody who can write the files and the registry: load takes the result."""
    path = files_of(house, version) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    digest = manifest_digest(read_manifest(path.parent))
    house.registry.client.set_model_version_tag("parcels", version, "updraft.model_digest", digest)


def test_a_flipped_seed_is_named(house: House) -> None:
    version = house.register("monday3")
    house.decide(version, None, seed=0)
    rewrite_manifest(house, version, random_state=1)
    done = reproduced(house, version)
    assert not done.is_equal
    assert "the seed: judged 0, manifest 1" in done.differences
    assert any(text.startswith("the model digest: judged ") for text in done.differences)
    assert any(text.startswith("files.model.skops: recorded ") for text in done.differences)
    with pytest.raises(
        ReproductionError, match=r"version 1 of 'parcels' is not reproduced: .*the seed: judged 0, manifest 1"
    ):
        done.require_equal()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"random_state": 1}, "files.model.skops: recorded "),
        ({"params": {"C": 2.0, "min_frequency": 20}}, "files.model.skops: recorded "),
        ({"libraries": {"numpy": "1.0"}}, "libraries.numpy: recorded 1.0, rebuilt "),
        ({"positive": False}, "positive: recorded False, rebuilt True"),
    ],
)
def test_a_version_that_nobody_has_judged_is_told_by_its_bytes(
    house: House, changes: dict[str, Any], told: str
) -> None:
    version = house.register("monday3")
    rewrite_manifest(house, version, **changes)
    assert any(text.startswith(told) for text in reproduced(house, version).differences)


def change_a_row(house: House, key: str) -> None:
    """One number in one row, in the file itself: no commit tells of it."""
    (path,) = Path(house.lake.uri).glob(f"parcels/validated/{key}/*.parquet")
    rows = pq.ParquetFile(path).read()
    column = rows.schema.get_field_index("distance_km")
    numbers = rows["distance_km"].to_pylist()
    numbers[7] += 0.1
    changed = rows.set_column(column, "distance_km", pa.array(numbers, pa.float64()))
    pq.write_table(changed, path)


def test_a_changed_row_is_named_by_its_partition(house: House) -> None:
    version = house.register("monday3")
    change_a_row(house, "2026-01-30")  # the control: not a row of this model
    assert reproduced(house, version).is_equal
    change_a_row(house, "2026-01-14")
    done = reproduced(house, version)
    assert done.rebuilt_digest == ""
    assert [text for text in done.differences if "partition" in text] == [
        "the rows of partition 2026-01-14: not those that were published"
    ]


def edit_the_ledger(house: House, evidence: Path) -> None:
    open_table(house.lake, DECISIONS).update(predicate="sequence = 1", updates={"decided_by": "'somebody else'"})


def edit_the_evidence(house: House, evidence: Path) -> None:
    evidence.write_text(evidence.read_text().replace("PROMOTE", "promote"))


def remove_the_evidence(house: House, evidence: Path) -> None:
    evidence.unlink()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (edit_the_ledger, "the record ledger/decisions: line 1 (version 1, PROMOTE) was changed after it was written"),
        (edit_the_evidence, "the record: the evidence of version 1 of 'parcels' was changed after the decision"),
        (remove_the_evidence, "the record: the evidence of version 1 of 'parcels' is missing from the lake"),
    ],
)
def test_an_edited_record_is_named_though_the_model_is_the_same(
    house: House, edit: Callable[[House, Path], None], told: str
) -> None:
    version = house.register("monday3")
    evidence = Path(house.decide(version, None).evidence_uri)
    edit(house, evidence)
    done = reproduced(house, version)
    assert done.rebuilt_digest == done.recorded_digest
    assert not done.is_equal
    assert [text[: len(told)] for text in done.differences] == [told]


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_a_tampered_model_is_named_and_not_rebuilt(house: House, tamper: Callable[[Path, Path], None]) -> None:
    version = house.register("monday4")
    tamper(files_of(house, version), house.packages)
    done = reproduced(house, version)
    assert done.rebuilt_digest == ""
    assert done.differences[0].startswith("the stored model: ")


def test_changed_code_is_named_where_the_bytes_differ(house: House) -> None:
    version = house.register("monday3")
    house.decide(version, None, code_digest="0" * 64)
    assert reproduced(house, version).is_equal  # other code that gives the same bytes is no difference
    rewrite_manifest(house, version, random_state=1)
    assert any(
        text.startswith("the code (include/) has changed since it was judged: 000000000000… then")
        for text in reproduced(house, version).differences
    )


def test_a_declaration_that_has_changed_since_is_taken_from_the_lake(house: House) -> None:
    version = house.register("monday3")
    (house.workflow.folder / "features.py").write_text("def build(row):\n    return {'one': 1}\n")
    changed = with_gate(house.workflow, minimum_rows=77)
    assert reproduced(house, version, workflow=changed).is_equal
    (kept,) = [
        path
        for path in Path(house.lake.uri).glob("parcels/_declarations/*")
        if path.stem in declared_digest(house, version)
    ]
    text = kept.read_text()
    kept.write_text(text.replace('row[\\"depot\\"]', "'north'"))
    assert kept.read_text() != text
    (told,) = reproduced(house, version, workflow=changed).differences
    assert told.startswith("the declaration ")
    assert "in the lake was changed" in told
    kept.unlink()
    with pytest.raises(
        ReproductionError, match=r"the declaration of 'parcels' has changed .* the old one is not in the lake"
    ):
        reproduced(house, version, workflow=changed)


def declared_digest(house: House, version: str) -> str:
    return read_manifest(files_of(house, version)).workflow_digest


def test_rows_that_are_gone_are_told_clearly(house: House) -> None:
    version = house.register("monday3")
    (path,) = Path(house.lake.uri).glob("parcels/validated/2026-01-14/*.parquet")
    path.unlink()
    with pytest.raises(
        ReproductionError, match=r"is no longer whole in the lake \(.*\). A retention or a vacuum has removed it"
    ):
        reproduced(house, version)


def test_a_version_that_does_not_exist_is_told(house: House) -> None:
    house.register("monday3")
    with pytest.raises(ModelVersionNotFoundError):
        reproduced(house, "7")


def test_the_choice_is_among_the_older_ones_and_the_same_for_the_same_seed(house: House) -> None:
    assert choose_version(house.registry, "parcels", seed="a") is None
    for training in ("monday3", "monday3b", "monday4"):
        house.register(training)
        chosen = {choose_version(house.registry, "parcels", seed=str(seed)) for seed in range(20)}
        assert chosen == {"monday3": {"1"}, "monday3b": {"1"}, "monday4": {"1", "2"}}[training]
    assert choose_version(house.registry, "parcels", seed="x") == choose_version(house.registry, "parcels", seed="x")

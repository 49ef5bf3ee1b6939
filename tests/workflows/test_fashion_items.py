"""
`fashion_items` on real pictures that ship with scikit-learn: handwritten digits, laid out as the demo lays out its
photographs.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from embedded.fashion_items import CLASSES, FashionItemsError, Photographs, install_photographs, lay_out
from include.errors import DataError
from include.lake.partitions import read_partitions
from include.lake.store import Lake, open_lake
from include.modeling.features import builder_of_workflow
from include.registry import load_version, open_registry
from include.rehearsal import ingest, train
from include.workflow import ImageSource, Search, Training, Workflow
from include.workflows.fashion_items.workflow import workflow as declared

pytestmark = pytest.mark.claim("flagships")

TODAY = date(2026, 11, 23)  # a Monday
AS_OF = datetime(2026, 11, 23, tzinfo=UTC)
DAYS = [(TODAY - timedelta(days=number)).isoformat() for number in range(8, 0, -1)]
A_DAY = 150


@pytest.fixture(scope="module")
def digits() -> Photographs:
    found = load_digits()
    pictures = (found.images * 15).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    return Photographs(pictures=pictures, labels=found.target.astype(np.uint8))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, digits: Photographs) -> Path:
    folder = tmp_path_factory.mktemp("home")
    assert lay_out(digits, folder / "fashion-items", today=TODAY, n_days=8, images_a_day=A_DAY) == 8
    return folder


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPDRAFT_HOME", str(home))


@pytest.fixture
def workflow(home: Path) -> Workflow:
    """The declaration, with shorter windows and its root in the test's home."""
    assert isinstance(declared.source, ImageSource)
    return declared.model_copy(
        update={
            "source": declared.source.model_copy(update={"root": f"{home}/fashion-items/{{partition_key}}"}),
            "training": Training(
                window="5 days",
                test="3 days",
                validation="1 day",
                minimum_rows=200,
                search=Search(metric="average_precision", budget_seconds=30, families=("linear",)),
            ),
            # the machine may be busy
            "gate": declared.gate.model_copy(update={"minimum_rows": 200, "max_latency_ms": None}),
        }
    )


@pytest.fixture
def lake() -> Lake:
    return open_lake()


def test_a_days_pictures_depend_on_the_day_alone(home, digits, tmp_path):
    assert lay_out(digits, tmp_path, today=TODAY - timedelta(days=3), n_days=2, images_a_day=A_DAY) == 2
    assert lay_out(digits, tmp_path, today=TODAY - timedelta(days=3), n_days=2, images_a_day=A_DAY) == 0
    for day in ("2026-11-18", "2026-11-19"):
        folders = tmp_path / day, home / "fashion-items" / day
        one, other = (
            {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")} for folder in folders
        )
        assert one == other
        assert len(one) == A_DAY
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026-11-18", "2026-11-19"]


def test_no_picture_is_there_on_two_days_and_each_lies_in_its_class(home, digits):
    numbers = [(int(path.stem), path.parent.name) for path in (home / "fashion-items").rglob("*.png")]
    assert len({number for number, _ in numbers}) == len(numbers) == 8 * A_DAY
    assert all(CLASSES[digits.labels[number]] == name for number, name in numbers)


@pytest.mark.timeout(900)
def test_pictures_become_a_model_that_the_gate_lets_through(workflow, lake, digits):
    """
    The whole loop but the Dags: 1,200 images in, each published; the registered model tells one class from the other
    nine.
    """
    for day in DAYS:
        line = ingest(workflow, day, connection_uri=None, lake=lake)
        assert (line.rows_in, line.rows_published + line.rows_duplicate, line.rows_quarantined) == (A_DAY, A_DAY, 0)
    rows = read_partitions(lake, "fashion_items/validated", DAYS)
    assert Counter(rows["label"].to_pylist()).keys() == set(CLASSES)

    result = train(workflow, AS_OF, lake=lake, registry=open_registry(), max_trials=2)
    assert result.decision.verdict == "PROMOTE", result.decision.reasons

    model = load_version(open_registry(), "fashion_items", result.version)
    assert [column.name for column in model.builder.columns] == ["image_uri", "sha256"]
    judged = read_partitions(lake, "fashion_items/validated", DAYS[5:]).to_pylist()
    scores = model.predict([{"image_uri": row["image_uri"]} for row in judged])
    truth = [digits.labels[int(Path(row["image_uri"]).stem)] == CLASSES.index("shirt") for row in judged]
    assert roc_auc_score(truth, scores) > 0.97


def test_features_are_numbers_of_the_named_picture_alone(workflow, home):
    from include.sources.images.rows import schema_of

    builder = builder_of_workflow(workflow, schema_of(workflow.source))
    path = next((home / "fashion-items" / DAYS[0]).rglob("*.png"))
    (features,) = builder.build([{"image_uri": str(path)}])
    assert len(features) == 49 + 49 + 7 + 2
    assert all(isinstance(value, float) and 0 <= value <= 28 for value in features.values())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert builder.build([{"image_uri": str(path), "sha256": digest}]) == [features]


@pytest.mark.parametrize(
    "uri", ["/etc/passwd", "file:///etc/passwd", "{home}/fashion-items/../secrets.json", "{home}/lake", None]
)
def test_a_request_for_what_is_no_photograph_is_refused(workflow, home, uri):
    from include.sources.images.rows import schema_of

    (home / "secrets.json").write_text("{}")
    builder = builder_of_workflow(workflow, schema_of(workflow.source))
    with pytest.raises(DataError, match=r"^image_uri: "):
        builder.build([{"image_uri": uri and uri.format(home=home)}])


def test_files_that_are_not_the_expected_ones_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("embedded.fashion_items.INSTALLED", tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"other")
    with pytest.raises(
        FashionItemsError, match=r"train-images-idx3-ubyte.gz has the SHA-256 [0-9a-f]{64}, not b0564c3e"
    ):
        install_photographs(tmp_path)


def test_a_machine_without_apt_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("embedded.fashion_items.INSTALLED", tmp_path / "nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        FashionItemsError,
        match=r"apt-get download dataset-fashion-mnist failed \(FileNotFoundError\): run apt-get update",
    ):
        install_photographs(tmp_path)
    assert list((tmp_path / "demo-data").iterdir()) == []

"""Served predictions equal the offline ones, by every route and in every form."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from include.lake.store import open_lake
from include.modeling.schema import coerce_row
from include.registry import load_version, open_registry
from include.settings import Settings
from include.workflow import Workflow
from tests.factories import parcel_rows
from tests.serving.endpoints import PARCEL, ThreadEndpoint
from tests.serving.models import promote

COLUMNS = ("parcel_id", "sent_at", "depot", "distance_km", "weight_kg")


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    """300 parcels as JSON inputs."""
    table = parcel_rows(n_rows=300, seed=11).select(list(COLUMNS))
    return [{**row, "sent_at": row["sent_at"].isoformat()} for row in table.to_pylist()]


def offline(settings: Settings, version: str, rows: list[dict[str, Any]]) -> np.ndarray:
    """What the registered model says of these rows, without the endpoint."""
    model = load_version(open_registry(settings), "parcels", version)
    return model.predict([coerce_row(model.manifest.input_columns, row) for row in rows])


def scores_of(reply: Any) -> list[float]:
    assert reply.status == 200, reply.content
    return [prediction["score"] for prediction in reply.content["predictions"]]


@pytest.mark.parametrize("n_rows", [1, 16, 17, 300])
@pytest.mark.parametrize("wrap", [None, "instances", "dataframe_records", "inputs"])
def test_json_equals_offline(
    linear: ThreadEndpoint, versions: dict[str, str], rows: list[dict[str, Any]], n_rows: int, wrap: str | None
) -> None:
    expected = offline(linear.settings, versions["linear"], rows[:n_rows])
    records: Any = rows[:n_rows] if wrap is None else {wrap: rows[:n_rows]}
    np.testing.assert_allclose(scores_of(linear.post("/invocations", records)), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_rows", [3, 300])
def test_boosting_equals_offline(
    parcels: Workflow, settings: Settings, versions: dict[str, str], rows: list[dict[str, Any]], n_rows: int
) -> None:
    promote(open_lake(settings), "parcels", versions["boosting"])
    expected = offline(settings, versions["boosting"], rows[:n_rows])
    with ThreadEndpoint(parcels, settings) as endpoint:
        endpoint.wait_for_champion()
        np.testing.assert_allclose(scores_of(endpoint.post("/invocations", rows[:n_rows])), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_rows", [2, 300])
def test_csv_equals_offline(
    linear: ThreadEndpoint, versions: dict[str, str], rows: list[dict[str, Any]], n_rows: int
) -> None:
    """An empty cell is a missing value: some weights are."""
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=COLUMNS)
    writer.writeheader()
    writer.writerows(rows[:n_rows])
    reply = linear.ask("POST", "/invocations", file.getvalue().encode(), {"content-type": "text/csv; charset=utf-8"})
    np.testing.assert_allclose(
        scores_of(reply), offline(linear.settings, versions["linear"], rows[:n_rows]), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(("n_rows", "is_nested"), [(1, True), (40, False)])
def test_tensors_equal_offline(
    linear: ThreadEndpoint, versions: dict[str, str], rows: list[dict[str, Any]], n_rows: int, is_nested: bool
) -> None:
    datatypes = {"parcel_id": "INT64", "sent_at": "BYTES", "depot": "BYTES", "distance_km": "FP64", "weight_kg": "FP64"}
    inputs = []
    for name, datatype in datatypes.items():
        data = [[row[name]] if is_nested else row[name] for row in rows[:n_rows]]
        inputs.append(
            {"name": name, "datatype": datatype, "shape": [n_rows, 1] if is_nested else [n_rows], "data": data}
        )
    reply = linear.post("/v2/models/parcels/infer", {"id": "batch-7", "inputs": inputs})
    label, score = reply.content["outputs"]
    assert (reply.content["id"], score["shape"]) == ("batch-7", [n_rows])
    np.testing.assert_allclose(
        score["data"], offline(linear.settings, versions["linear"], rows[:n_rows]), rtol=0, atol=1e-9
    )
    assert label["data"] == [value >= 0.5 for value in score["data"]]


def test_one_record_is_answered_with_names_and_versions(linear: ThreadEndpoint, versions: dict[str, str]) -> None:
    reply = linear.post("/invocations", PARCEL, {"x-request-id": "mine", "accept": "text/html"})
    (prediction,) = reply.content.pop("predictions")
    assert reply.content == {"model_name": "parcels", "model_version": versions["linear"], "request_id": "mine"}
    assert prediction["label"] is (prediction["score"] >= 0.5)
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "server" not in reply.headers


def test_protocol_routes(linear: ThreadEndpoint, versions: dict[str, str]) -> None:
    version = versions["linear"]
    assert linear.get("/v2").content["name"] == "updraft"
    assert linear.get("/v2/health/live").content == {"live": True}
    assert linear.get("/v2/health/ready").content == {"ready": True}
    assert linear.get("/v2/models/parcels/ready").content == {"name": "parcels", "ready": True}
    described = linear.get(f"/v2/models/parcels/versions/{version}").content
    assert described == linear.get("/v2/models/parcels").content
    assert {"name": "sent_at", "datatype": "BYTES", "shape": [-1]} in described["inputs"]
    assert [output["name"] for output in described["outputs"]] == ["label", "score"]
    body = {
        "inputs": [
            {"name": name, "datatype": "BYTES", "shape": [1], "data": [PARCEL[name]]} for name in ("depot", "sent_at")
        ]
    }
    assert linear.post(f"/v2/models/parcels/versions/{version}/infer", body).content["model_version"] == version
    assert linear.get("/version").content["model_version"] == version
    assert linear.ask("HEAD", "/ping").status == 200


def test_small_requests_build_no_frame(linear: ThreadEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen rows are scored by the compiled form; the seventeenth is the control: it does build a frame."""
    import pandas as pd

    frames: list[int] = []
    original = pd.DataFrame.__init__

    def build(self: pd.DataFrame, *args: Any, **kwargs: Any) -> None:
        frames.append(1)
        original(self, *args, **kwargs)

    monkeypatch.setattr(pd.DataFrame, "__init__", build)
    assert linear.post("/invocations", [PARCEL] * 16).status == 200
    assert not frames
    assert linear.post("/invocations", [PARCEL] * 17).status == 200
    assert frames


def test_every_answered_row_is_in_the_lake(linear: ThreadEndpoint, rows: list[dict[str, Any]]) -> None:
    import deltalake

    linear.admin("flush")
    answer = linear.post("/invocations", rows[:3], {"x-request-id": "logged-1"}).content
    linear.post("/invocations", {"depot": 3}, {"x-request-id": "refused-1"})
    assert linear.admin("flush").content == {"rows": 3}
    table = deltalake.DeltaTable(f"{linear.settings.lake_uri}/parcels/predictions").to_pyarrow_table()
    found = sorted(
        (row for row in table.to_pylist() if row["request_id"] in ("logged-1", "refused-1")),
        key=lambda row: row["row_index"],
    )
    assert [row["score"] for row in found] == [prediction["score"] for prediction in answer["predictions"]]
    assert [json.loads(row["inputs"])["parcel_id"] for row in found] == [row["parcel_id"] for row in rows[:3]]
    assert {row["partition_key"] for row in found} == {found[0]["predicted_at"].date().isoformat()}

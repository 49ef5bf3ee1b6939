"""The pages of models in Airflow's real API server app: what they show, to whom, and that hostile text does nothing."""

from __future__ import annotations

import re
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from tests.factories import declare_workflow
from tests.plugins.showroom import RUN, show_version

pytestmark = pytest.mark.airflow

HOSTILE = "<script>alert('x')</script>"
PAGES = [
    "/models",
    "/models?workflow=parcels",
    "/models?workflow=parcels&version=1",
    "/models/card?workflow=parcels&version=1",
    "/models?dag_id=parcels.train",
    f"/models?dag_id=parcels.train&run_id={quote(RUN)}",
]


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """Two versions: one judged, with hostile text; one of which nothing but its leaderboard is known."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(folder / "home"))
        workflow = declare_workflow(folder / "parcels", description=f"{HOSTILE} parcels")
        assert show_version(workflow, folder / "one", training_id="one", text=HOSTILE, verdict="HOLD") == "1"
        assert show_version(workflow, folder / "two", training_id="two", text="plain", verdict=None) == "2"
        yield workflow


def test_the_versions_are_listed_with_verdict_and_reason(ask):
    text = ask(PAGES[1]).text
    assert re.findall(r"version=(\d+)\">\d+</a>", text) == ["2", "1"]
    assert "HOLD" in text
    assert "not judged yet" in text
    assert "&lt;script&gt;" in text
    assert "<b>champion</b>" not in text
    overview = ask(PAGES[0]).text
    assert '<td class="number">2</td><td class="number">none</td>' in overview
    assert "not judged yet of version 2" in overview


def test_a_version_shows_leaderboard_study_metrics_and_its_card(ask):
    text = ask(PAGES[2]).text
    assert re.findall(r"<td>(0\.6\d+)</td>", text) == ["0.6000", "0.6100", "0.6200"]
    assert "The final fit took 1.2 CPU seconds" in text
    assert "second reason" in text
    assert '<div class="verdict held">HOLD' in text
    assert "On 80 held-out rows" in text
    assert 'src="data:image/png;base64,' in text
    assert "models/card?workflow=parcels&amp;version=1" in text


def test_a_version_of_which_little_is_known_has_its_page_too(ask):
    text = ask("/models?workflow=parcels&version=2").text
    assert "Not judged yet" in text
    assert "models/card" not in text
    assert ask("/models/card?workflow=parcels&version=2").status_code == 404


def test_the_card_is_served_as_it_is_stored(ask):
    answer = ask(PAGES[3])
    assert answer.status_code == 200
    assert "<h2>Did it ship, and why</h2>" in answer.text


def test_a_runs_tab_shows_the_version_that_it_made_and_another_runs_the_list(ask):
    assert "<h1>parcels, version 1</h1>" in ask(PAGES[5]).text
    other = ask(f"/models?dag_id=parcels.train&run_id={HOSTILE}").text
    assert "<h1>parcels: models</h1>" in other
    assert "The run &lt;script&gt;" in other


@pytest.mark.parametrize("path", PAGES)
def test_who_may_read_the_dag_reads_its_pages_and_nobody_else(ask, path):
    assert ask(path, "viewer").status_code == 200
    assert ask(path, None).status_code == 401
    assert ask(path, "viewer", "POST").status_code == 405
    refused = ask(path, "nobody")
    if path == "/models":
        assert "There is no workflow that you may read" in refused.text
    else:
        assert refused.status_code == 403
        assert "you may not read parcels.train" in refused.text


@pytest.mark.parametrize("path", PAGES)
def test_hostile_text_is_escaped(ask, path):
    answer = ask(path)
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"(?:href|src|action)=[\"']?(?:https?:|//|javascript:)", answer.text)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models?workflow=letters", 404),
        ("/models?workflow=parcels&version=9", 404),
        ("/models/card?workflow=parcels&version=9", 404),
        ("/models/card?workflow=parcels&version=..%2f1", 404),
        ("/models/card?workflow=letters&version=1", 404),
        ("/models?workflow=parcels&version=..%2f", 422),
        ("/models/card", 422),
    ],
)
def test_what_is_not_there_is_not_found(ask, path, status):
    assert ask(path).status_code == status


def test_a_task_links_to_the_card_of_its_version(workflow, monkeypatch):
    from updraft.operators.links import ModelCardLink

    task = SimpleNamespace(workflow=workflow, version="3")
    assert ModelCardLink().get_link(task, ti_key=None) == "/updraft/models/card?workflow=parcels&version=3"
    unfilled = SimpleNamespace(workflow=workflow, version="{{ ti.xcom_pull('fit') }}")
    assert ModelCardLink().get_link(unfilled, ti_key=None) == "/updraft/models"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.org/team/")
    assert ModelCardLink().get_link(task, ti_key=None).startswith("/team/updraft/models/card?")

"""The web page on a real endpoint, as Streamlit itself runs it; a real browser is a claim."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import expect, sync_playwright
from streamlit.testing.v1 import AppTest

from embedded.app import main as start_app
from embedded.postgres import free_port
from include.app.client import AppError, Field, predict, predict_csv, read_served
from include.settings import PROJECT_ROOT, Settings
from tests.serving.endpoints import PARCEL, ThreadEndpoint

PAGE = str(PROJECT_ROOT / "include" / "app" / "page.py")
CHROMIUM = "/usr/bin/chromium"


@pytest.fixture
def url(linear: ThreadEndpoint) -> str:
    """The endpoint's address."""
    return f"http://127.0.0.1:{linear.port}"


@pytest.fixture
def environment(linear: ThreadEndpoint, url: str, registry_settings: Settings, tmp_path: Path) -> dict[str, str]:
    """The settings of the page's process."""
    registry = {
        "UPDRAFT_REGISTRY_URI": registry_settings.registry_uri,
        "UPDRAFT_ARTIFACTS_URI": registry_settings.artifacts_uri,
    }
    (tmp_path / "sample_request.parcels.json").write_text(json.dumps(PARCEL))
    return {"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_ENDPOINT_URL": url, **registry}


@pytest.fixture
def page(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page, run once."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["page.py", "parcels"])
    return AppTest.from_file(PAGE, default_timeout=30).run()


def test_what_serves_and_its_columns_are_read(url, versions):
    served = read_served(url)
    assert (served.name, served.version) == ("parcels", versions["linear"])
    kinds = {field.name: field.kind for field in served.fields}
    assert (kinds["sent_at"], kinds["depot"], kinds["distance_km"]) == ("timestamp", "text", "number")


def test_a_row_and_a_file_are_answered_alike(url):
    (one,) = predict(url, [PARCEL])
    header, cells = ",".join(PARCEL), ",".join(map(str, PARCEL.values()))
    assert predict_csv(url, f"{header}\n{cells}\n".encode()) == [one]


def test_errors_say_what_to_do(url):
    with pytest.raises(AppError, match=r"does not answer .* is it up"):
        read_served(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(AppError, match=r"refuses \(422\): .*'distance_km' is a number"):
        predict(url, [{"distance_km": "far"}])


def test_the_form_has_the_models_columns_and_answers(page, url):
    assert not page.exception
    labels = {widget.label for widget in [*page.text_input, *page.number_input, *page.selectbox]}
    assert labels == {field.name for field in read_served(url).fields}
    next(widget for widget in page.number_input if widget.label == "distance_km").set_value(900.0)
    page.button[0].click().run()
    (expected,) = predict(url, [{**PARCEL, "distance_km": 900.0}])
    assert page.metric[0].value == ("yes" if expected["label"] else "no")
    assert page.metric[0].delta == f"probability {expected['score']:.1%}"


def test_a_wrong_value_is_refused_in_a_sentence(page):
    next(widget for widget in page.text_input if widget.label == "sent_at").set_value("yesterday")
    page.button[0].click().run()
    assert not page.exception
    assert "sent_at" in page.error[0].value


def test_without_an_endpoint_the_page_says_so(environment, monkeypatch):
    for name, value in {**environment, "UPDRAFT_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["page.py", "parcels"])
    page = AppTest.from_file(PAGE, default_timeout=30).run()
    assert "does not answer" in page.error[0].value


@pytest.mark.parametrize(
    ("arguments", "said"), [([""], "Usage"), (["../x"], "is no workflow"), (["flight_delays"], "make demo")]
)
def test_the_command_says_what_is_missing(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path))
    assert start_app(arguments) != 0
    assert said in capsys.readouterr().err


def test_the_endpoint_describes_itself(url, linear):
    api = requests.get(f"{url}/openapi.json", timeout=10).json()
    assert api["openapi"] == "3.1.0"
    example = api["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert linear.post("/invocations", example).status == 200
    page = requests.get(f"{url}/docs", timeout=10)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "distance_km" in page.text
    assert Field(name="distance_km", kind="number") in read_served(url).fields


@pytest.fixture
def served_page(environment: dict[str, str]) -> Iterator[str]:
    """The page as `make app` serves it, in a process of its own."""
    port = free_port()
    options = [
        "--server.address=127.0.0.1",
        f"--server.port={port}",
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", PAGE, *options, "--", "parcels"],
        env={**os.environ, **environment, "PYTHONPATH": str(PROJECT_ROOT)}, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if requests.get(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.claim("app")
def test_a_person_asks_in_a_real_browser(served_page: str, url: str, tmp_path: Path, record_property: Any) -> None:
    """A form is filled in, a file is sent; both are answered as the endpoint answers."""
    (expected,) = predict(url, [{**PARCEL, "distance_km": 900.0}])
    table = tmp_path / "parcels.csv"
    table.write_text(",".join(PARCEL) + "\n" + ",".join(map(str, PARCEL.values())) + "\n")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": 1000, "height": 1100})
        tab.goto(served_page)
        tab.get_by_label("distance_km").fill("900")
        tab.get_by_role("button", name="Predict").click()
        expect(tab.get_by_text(f"probability {expected['score']:.1%}")).to_be_visible(timeout=30_000)
        tab.screenshot(path=str(tmp_path / "app.png"))
        tab.get_by_role("tab", name="A file").click()
        tab.locator("input[type=file]").set_input_files(str(table))
        expect(tab.get_by_role("button", name="Download", exact=True)).to_be_visible(timeout=30_000)
        browser.close()
    if keep := os.environ.get("KEEP_SCREENSHOT"):
        Path(keep).write_bytes((tmp_path / "app.png").read_bytes())
    record_property(
        "figure", f"a form and a file answered in Chromium; probability {expected['score']:.1%} as the endpoint says"
    )

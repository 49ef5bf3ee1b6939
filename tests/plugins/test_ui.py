"""
Updraft's pages in Airflow's real API server app: who is let in, what is shown, and that hostile text and paths do
nothing.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from include.lake.fencing import new_token
from include.lake.files import put_file
from include.lake.ledger import latest_run
from include.lake.partitions import replace_partition
from include.lake.store import open_lake
from include.quality.docs_files import docs_folder
from include.quality.publication import publish_partition
from include.quality.validation import validate_partition
from tests.factories import START, declare_workflow, parcel_rows
from tests.quality.rows import changed, with_positions

pytestmark = pytest.mark.airflow

KEY, STOPPED = (f"{START + timedelta(days=day):%Y-%m-%d}" for day in (0, 1))
HOSTILE = "<script>alert('x')</script>"
SECRET = "Zbigniew"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SUITE = {
    "name": "parcels",
    "expectations": [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 5}},
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "depot", "value_set": ["north", "south", "east"]},
            "meta": {"reason": HOSTILE},
        },
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "distance_km", "min_value": 0, "max_value": 5000},
        },
    ],
}
PAGES = ["/quarantine", "/quarantine?workflow=parcels", f"/quarantine?workflow=parcels&partition={KEY}", "/data_docs/"]
REPORT = "2026-01-01.0123456789abcdef.html"


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """
    A declared workflow, one of whose partitions has hostile text and a name in quarantine, and one that
    was stopped.
    """
    folder = tmp_path_factory.mktemp("ui")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(folder / "home"))
        workflow = declare_workflow(folder / "parcels", suite=SUITE, description=f'"{HOSTILE} parcels')
        rows = changed(parcel_rows(n_rows=60), "depot", dict.fromkeys(range(3), SECRET))
        rows = changed(rows, "distance_km", dict.fromkeys(range(2, 6), 9000.0))
        lake = open_lake()
        version = replace_partition(lake, "parcels/raw", KEY, with_positions(rows), token=new_token()).version
        report = validate_partition(workflow, KEY, lake=lake, raw_version=version, run_id=f"run {HOSTILE}")
        publish_partition(workflow, report, lake=lake, token=new_token(), run_id=f"run {HOSTILE}", try_id="try")
        replace_partition(lake, "parcels/raw", STOPPED, with_positions(rows.slice(0, 3)), token=new_token())
        (folder / "home" / "secret.html").write_text("a secret")
        put_file(lake, f"parcels/_monitoring/{REPORT}", b"<!doctype html><p>Drift of parcels in this window.</p>")
        yield workflow


def routes_of(server) -> list[str]:
    """The paths of every plugin's app that the API server has mounted under the plugin's address."""
    mount = next(route for route in server.routes if getattr(route, "path", None) == "/updraft")
    return [route.path for route in mount.routes]


def test_the_routes_are_these_and_none_lists_the_others(server):
    assert routes_of(server) == [
        "/quarantine",
        "/data_docs/",
        "/data_docs/{workflow_name}/{path:path}",
        "/models",
        "/models/card",
        "/monitoring/report",
        "/{path:path}",
    ]


@pytest.mark.parametrize(("user", "expected"), [(None, 401), ("expired", 401), ("forged", 403)])
def test_nobody_gets_anything_without_a_valid_login(server, ask, user, expected):
    paths = [re.sub(r"{[^}]+}", "parcels", path) for path in routes_of(server)]
    for path in [
        *paths,
        *PAGES,
        f"/data_docs/parcels/{KEY}/x.html",
        "/openapi.json",
        "/docs",
        "/redoc",
        "/promote",
        "/models?workflow=parcels",
    ]:
        for method in METHODS:
            answer = ask(path, user, method)
            assert answer.status_code == expected, (method, path)
            assert SECRET not in answer.text
            assert "parcels" not in answer.text


@pytest.mark.parametrize("user", ["viewer", "admin"])
def test_nothing_can_be_changed_even_by_who_is_logged_in(ask, user):
    for path in [*PAGES, "/", "/promote"]:
        assert {ask(path, user, method).status_code for method in METHODS if method not in ("GET", "HEAD")} == {405}, (
            path
        )


@pytest.mark.parametrize("user", ["viewer", "admin"])
@pytest.mark.parametrize("path", [*PAGES, "/data_docs/parcels/index.html"])
def test_who_may_read_the_dag_reads_its_pages(ask, user, path):
    answer = ask(path, user)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "parcels" in answer.text


@pytest.mark.parametrize("path", [*PAGES[1:3], "/data_docs/parcels/index.html"])
def test_who_may_not_read_the_dag_reads_none_of_its_pages(ask, path):
    answer = ask(path, "nobody")
    assert answer.status_code == 403
    assert "you may not read parcels.ingest" in answer.text


@pytest.mark.parametrize("path", ["/quarantine", "/data_docs/"])
def test_the_lists_leave_out_what_a_user_may_not_read(ask, path):
    answer = ask(path, "nobody")
    assert answer.status_code == 200
    assert "parcels" not in answer.text
    assert "no workflow that you may read" in answer.text


@pytest.mark.parametrize(
    "path",
    ["/quarantine?workflow=letters", "/quarantine?workflow=parcels&partition=2026-02-01", "/docs", "/openapi.json"],
)
def test_what_is_not_there_is_not_found(ask, path):
    assert ask(path).status_code == 404


def test_a_partition_shows_counts_reasons_and_masked_rows(ask):
    text = ask(PAGES[2]).text
    # By hand: rows 0 to 2 are from an unknown depot, rows 2 to 5 too far; 60 rows came in.
    assert "<b>60</b>" in text
    assert "54</b><span>published, 90.0%" in text
    assert "6</b><span>quarantined, 10.0%" in text
    assert re.findall(r'reason=[^"]*">([^<]*)</a></td><td class="number">(\d+)<', text) == [
        ("distance_km: expect_column_values_to_be_between", "4"),
        ("depot: expect_column_values_to_be_in_set (&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;)", "3"),
    ]
    assert re.findall(r'<tr><td class="number">(\d+)</td><td class="wide">', text) == ["0", "1", "2", "3", "4", "5"]
    assert "Aaaaaaaa" in text
    assert text.count("run &lt;script&gt;") == 7


def test_one_reason_shows_the_rows_that_have_it(ask):
    text = ask(f"{PAGES[2]}&reason=distance_km: expect_column_values_to_be_between").text
    assert re.findall(r'<tr><td class="number">(\d+)</td><td class="wide">', text) == ["2", "3", "4", "5"]


def test_a_partition_that_was_stopped_is_listed_as_such(ask):
    assert f"partition={STOPPED}" in ask(PAGES[1]).text
    text = ask(f"/quarantine?workflow=parcels&partition={STOPPED}").text
    assert "3 rows landed, and are not published" in " ".join(text.split())
    assert "{&#34;workflow&#34;: &#34;parcels&#34;, &#34;partitions&#34;: [&#34;" + STOPPED in text


def test_the_tab_of_a_dag_shows_its_workflow_and_another_dags_tab_the_list(ask):
    assert "parcels: quarantine" in ask("/quarantine?dag_id=parcels.train").text
    assert "<h1>Quarantine</h1>" in ask("/quarantine?dag_id=replay_quarantine").text


def test_hostile_text_is_escaped_and_no_value_or_script_leaves(ask):
    for path in [
        *PAGES,
        f"{PAGES[2]}&reason={HOSTILE}",
        f"/quarantine?workflow={HOSTILE}",
        f"/quarantine?workflow=parcels&partition={HOSTILE}",
    ]:
        answer = ask(path)
        assert "<script" not in answer.text
        assert SECRET not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"(?:href|src|action)=[\"']?(?:https?:|//|javascript:)", answer.text)


def test_a_validations_page_is_linked_and_served(ask, workflow):
    links = re.findall(r'href="(data_docs/[^"]*)"', ask(PAGES[2]).text)
    assert len(links) == 1
    assert f"parcels {KEY}" in ask(f"/{links[0]}").text
    assert SECRET not in ask(f"/{links[0]}").text
    assert latest_run(open_lake(), "parcels", KEY).rows_quarantined == 6
    assert docs_folder("parcels").is_dir()


def test_a_windows_report_is_served_to_who_may_read_the_monitor_and_no_other_file_is(ask):
    page = f"/monitoring/report?workflow=parcels&file={REPORT}"
    assert "Drift of parcels" in ask(page).text
    assert "default-src 'none'" in ask(page).headers["content-security-policy"]
    refused = ask(page, "nobody")
    assert refused.status_code == 403
    assert "you may not read parcels.monitor, and so not its reports" in refused.text
    assert "clear judge_window" in ask(page.replace("2026-01-01", "2026-01-02")).text
    for path in ("../../secret.html", "..%2f..%2fsecret.html", f"../{REPORT}", "secret.html", f"{REPORT}%00"):
        assert ask(f"/monitoring/report?workflow=parcels&file={path}").status_code == 422, path


TRAVERSALS = [
    "../secret.html",
    "..%2fsecret.html",
    "%2e%2e/secret.html",
    "%2e%2e%2fsecret.html",
    "..%252fsecret.html",
    "..\\secret.html",
    "..%5csecret.html",
    f"{KEY}/../../../secret.html",
    f"{KEY}/%2e%2e/%2e%2e/%2e%2e/secret.html",
    "....//secret.html",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "index.html%00.png",
    "secret.html%00",
    "C:\\secret.html",
    "．．/secret.html",
    "..;/secret.html",
    ".hidden.html",
    "link.html",
    "linked/secret.html",
    "a" * 300 + ".html",
    "~/secret.html",
    "index.html/",
    "",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_address_leads_out_of_the_folder_of_pages(ask, path):
    folder = docs_folder("parcels")
    for link, target in (("link.html", folder.parent.parent / "secret.html"), ("linked", folder.parent.parent)):
        if not (folder / link).is_symlink():
            (folder / link).symlink_to(target)
    (folder / ".hidden.html").write_text("a secret")
    answer = ask(f"/data_docs/parcels/{path}")
    assert answer.status_code == 404
    assert "a secret" not in answer.text


def test_control_the_files_can_be_read_by_a_server_that_joins_paths(workflow, ask):
    folder = docs_folder("parcels")
    ask("/data_docs/parcels/index.html")
    assert (folder / "../../secret.html").read_text() == "a secret"


def test_schedulers_and_workers_do_not_build_the_app():
    import subprocess
    import sys

    from include.settings import PROJECT_ROOT

    script = (
        "import sys, updraft_plugin; print([m for m in ('updraft.ui.app', 'pyarrow', 'deltalake', 'jinja2.ext') if m "
        "in sys.modules][:1])"
    )
    paths = f"{PROJECT_ROOT}:{PROJECT_ROOT / 'plugins'}"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": paths, "HOME": "/tmp"}, capture_output=True, text=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr

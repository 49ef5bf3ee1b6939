"""Windows of a small production, judged whole: on real tables, by a real model."""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from include.alerts.composition import Composer
from include.errors import PartitionError
from include.lake.incidents import read_incidents
from include.monitoring.judgement import judge_window
from include.workflow import Decay, Drift
from tests.factories import days
from tests.monitoring.production import AS_OF, Production, further, inverted, promote

MONDAY, TUESDAY, WEDNESDAY, THURSDAY = days(4, start=AS_OF)


def drifting(production: Production, n_days: int) -> list:
    """Days of parcels that go further, each published as well, each judged."""
    judged = []
    for day in days(n_days, start=AS_OF):
        production.publish(day, production.serve(day, change=further))
        judged.append(production.judge(day))
    return judged


def test_a_day_like_those_of_training_is_ok_and_asks_for_nothing(production):
    production.serve(MONDAY)
    found = production.judge(MONDAY)
    assert (found.verdict, found.reasons, found.decision, found.request) == ("ok", (), "", None)
    (line,) = production.lines()
    assert (line.model_version, line.n_rows, line.is_requested) == (production.version, 300, False)


def test_a_second_run_finds_the_verdict_and_writes_nothing(production):
    production.serve(MONDAY)
    first = production.judge(MONDAY)
    files = sorted(Path(production.lake.uri).rglob("*"))
    assert production.judge(MONDAY, now=MONDAY + timedelta(days=1, hours=5)) == first
    assert sorted(Path(production.lake.uri).rglob("*")) == files


def test_drift_that_lasts_asks_for_one_training(production):
    found = drifting(production, 5)
    assert [one.verdict for one in found] == ["drift"] * 5
    assert [one.request is not None for one in found] == [False, False, True, False, False]
    assert "1 of 3 windows in a row so far" in found[0].decision
    request = found[2].request
    # As of the last published day, under the key of the last week that is over: Monday's, before the champion's as-of.
    assert (request.as_of, request.period_key) == ("2026-02-05T00:00:00+00:00", "2026-01-26")
    assert "distance_km" in request.reason
    assert "window 2026-02-04 asked already, and cool_down is 1 week" in found[3].decision


def test_drift_that_lasts_is_told_once_and_its_end_once(production):
    def known():
        return [(one.kind, one.subject, one.is_open) for one in read_incidents(production.lake)]

    drifting(production, 2)
    assert known() == []
    drifting(production, 5)
    drift = ("drift", f"version {production.version}")
    assert known() == [(*drift, True)]
    letter = Composer(base_url="https://airflow.example.com")(read_incidents(production.lake), "alert")
    assert letter.subject == "[Updraft] parcels: the data has drifted"
    for part in ("distance_km: ", "is asked for", "/updraft/monitoring/report?workflow=parcels&file=2026-02-04"):
        assert part in letter.text
    later = AS_OF + timedelta(days=5)
    production.publish(later, production.serve(later))
    assert production.judge(later).verdict == "ok"
    assert known() == [(*drift, False)]
    assert production.judge(WEDNESDAY).request is not None
    assert known() == [(*drift, False)], "the old request, made again by a retry, is no news"


@pytest.mark.claim("monitoring")
def test_a_request_is_made_again_by_a_retry_and_not_by_a_run_long_after(production):
    request = drifting(production, 3)[2].request
    assert production.judge(WEDNESDAY).request == request
    assert production.judge(WEDNESDAY, now=WEDNESDAY + timedelta(days=30)).request is None
    assert sum(line.is_requested for line in production.lines()) == 1


@pytest.mark.claim("monitoring")
def test_after_the_cool_down_drift_asks_again(production):
    found = drifting(production, 11)
    assert [i for i, one in enumerate(found) if one.request is not None] == [2, 9]


@pytest.mark.claim("monitoring")
def test_a_backfill_of_old_windows_asks_for_nothing(production):
    later = AS_OF + timedelta(days=60)
    for day in days(10, start=AS_OF):
        production.publish(day, production.serve(day, change=further))
        assert production.judge(day, now=later).request is None
    assert "is over for more than cool_down" in production.lines()[5].request


@pytest.mark.claim("monitoring")
def test_a_backfill_within_the_cool_down_asks_once(production):
    later = AS_OF + timedelta(days=6, hours=2)
    for day in days(6, start=AS_OF):
        production.publish(day, production.serve(day, change=further))
    for day in days(6, start=AS_OF):
        production.judge(day, now=later)
    assert sum(line.is_requested for line in production.lines()) == 1


@pytest.mark.claim("monitoring")
def test_without_newer_rows_no_training_is_asked_for(production):
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        production.serve(day, change=further)
        found = production.judge(day)
    assert found.request is None
    assert "no row was published since the champion was trained" in found.decision


def test_drift_of_a_version_that_no_longer_serves_asks_for_nothing(production):
    production.publish(MONDAY, production.serve(MONDAY, change=further))
    promote(production.lake, "9", epoch=2)
    found = production.declared(drift=Drift(persistence=1)).judge(MONDAY)
    assert (found.verdict, found.request) == ("drift", None)
    assert f"version {production.version} answered then, the champion is 9" in found.decision


@pytest.mark.claim("monitoring")
def test_windows_that_cannot_be_judged_neither_count_nor_break_the_row(production):
    for day, n_rows in zip(days(4, start=AS_OF), (300, 300, 10, 300), strict=True):
        production.publish(day, production.serve(day, n_rows=n_rows, change=further))
        found = production.judge(day)
    assert [line.verdict for line in production.lines()] == ["drift", "drift", "unknown", "drift"]
    assert found.request is not None


@pytest.mark.claim("monitoring")
def test_an_ok_window_breaks_the_row(production):
    for day, change in zip(days(4, start=AS_OF), (further, further, None, further), strict=True):
        production.publish(day, production.serve(day, change=change))
        found = production.judge(day)
    assert "1 of 3 windows in a row" in found.decision


def test_drift_without_a_declaration_is_told_and_asks_for_nothing(production):
    production.publish(MONDAY, production.serve(MONDAY, change=further))
    found = production.declared(drift=None).judge(MONDAY)
    assert (found.verdict, found.request) == ("drift", None)
    assert "monitoring.drift is not declared" in found.decision


def test_missing_traffic_is_named(production):
    found = production.judge(MONDAY)
    assert (found.verdict, found.reasons) == (
        "unknown",
        ("nothing was answered in this window, and nothing before it",),
    )
    production.serve(MONDAY)
    found = production.judge(WEDNESDAY)
    assert found.verdict == "unknown"
    assert found.reasons == (
        "MISSING TRAFFIC: nothing was answered in this window; the last answers before it are of 2026-02-02",
    )


@pytest.mark.claim("monitoring")
def test_a_window_that_was_unknown_is_judged_once_its_answers_are_there(production):
    assert production.judge(MONDAY).verdict == "unknown"
    production.serve(MONDAY)
    assert production.judge(MONDAY).verdict == "ok"
    assert production.judge(MONDAY).verdict == "ok"
    assert sorted(line.verdict for line in production.lines()) == ["ok", "unknown"]


def test_versions_from_before_profiles_are_unknown_and_said_so(production, monkeypatch):
    monkeypatch.setattr("include.monitoring.facts.read_profile", lambda folder: None)
    production.serve(MONDAY)
    found = production.judge(MONDAY)
    assert found.verdict == "unknown"
    assert found.reasons == (
        f"version {production.version} has no profile of its training rows (it is older than profiles): train again",
    )


def test_a_version_that_is_gone_is_unknown_with_its_reason(production):
    production.serve(MONDAY, version="77")
    found = production.judge(MONDAY)
    assert found.verdict == "unknown"
    assert "77" in found.reasons[0]


@pytest.mark.claim("monitoring")
def test_the_last_version_that_answered_enough_is_judged_and_the_others_are_named(production):
    production.serve(MONDAY)
    found = production.judge(MONDAY)
    assert "other versions" not in "".join(found.reasons)
    production.serve(TUESDAY, version="77", n_rows=20)
    assert production.judge(TUESDAY).verdict == "unknown"


def test_a_malformed_key_is_refused(production):
    with pytest.raises(PartitionError, match="is not a day"):
        judge_window(production.workflow, "yesterday", lake=production.lake, registry=production.registry)


# --- performance


def test_labels_in_instalments_give_no_verdict_before_the_coverage_and_then_exactly_one(production):
    rows = production.serve(MONDAY)
    for share, n_lines in ((0.3, 0), (0.7, 0), (0.85, 1), (1.0, 1)):
        production.publish(MONDAY, rows, share=share)
        found = production.judge(TUESDAY, now=WEDNESDAY + timedelta(hours=1))
        assert len(production.lines("performance")) == n_lines
        assert found.n_waiting == 1 - n_lines
    (line,) = production.lines("performance")
    assert (line.verdict, line.partition_key, line.metric) == ("ok", "2026-02-02", "roc_auc")
    assert line.coverage == pytest.approx(0.85)
    assert line.low <= line.value <= line.high


@pytest.mark.claim("monitoring")
def test_labels_are_not_looked_at_before_their_delay(production):
    production.publish(MONDAY, production.serve(MONDAY))
    assert production.judge(MONDAY, now=TUESDAY + timedelta(hours=23)).n_waiting == 0
    assert production.lines("performance") == []
    assert production.judge(MONDAY, now=WEDNESDAY).performance[0].startswith("2026-02-02: ok, roc_auc 0.")


def test_answers_that_are_wrong_are_decay_and_ask_for_a_training(production):
    rows = production.serve(MONDAY)
    production.serve(MONDAY, scores=inverted(production.model, rows))
    production.publish(MONDAY, rows)
    found = production.judge(TUESDAY, now=WEDNESDAY + timedelta(hours=1))
    (line,) = production.lines("performance")
    assert line.verdict == "decay"
    assert line.high < line.reference - 0.05
    assert found.request.reason.startswith(f"decay in window 2026-02-02, version {production.version}: roc_auc 0.")


def test_a_small_window_of_wrong_answers_is_not_sure_enough(production):
    """Twelve labelled rows say nothing, whatever they say."""
    rows = production.serve(MONDAY, n_rows=60)
    production.serve(MONDAY, n_rows=60, scores=inverted(production.model, rows))
    production.publish(MONDAY, rows, share=0.9)
    own = production.declared(decay=Decay(metric="roc_auc", minimum_rows=55))
    assert own.judge(TUESDAY, now=WEDNESDAY).n_waiting == 1
    assert own.lines("performance") == []


@pytest.mark.claim("monitoring")
def test_labels_that_never_come_end_in_unknown(production):
    production.serve(MONDAY)
    for day in days(12, start=AS_OF):
        production.judge(day)
    (line,) = production.lines("performance")
    assert line.verdict == "unknown"
    assert "0 of 300 predictions have a label, label_coverage=0.8 is asked for" in line.reasons


# --- the report


def test_the_report_is_one_file_with_a_plot_a_feature_and_no_rows_values(production):
    rows = production.serve(MONDAY, change=further)
    found = production.judge(MONDAY)
    text = Path(found.report_uri).read_text()
    assert (
        len(re.findall(r"<figcaption>\w+: share of rows by value", text))
        == len(production.model.manifest.feature_names) + 1
    )
    assert "The inputs have drifted." in text
    assert "http" not in text.replace("http-equiv", "")
    charts = [b64decode(data).decode() for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', text)]
    words = re.findall(r"[\w.]+", " ".join([re.sub(r'src="[^"]*"|<style>.*?</style>', "", text, flags=re.S), *charts]))
    assert not {str(number) for number in rows["parcel_id"].to_pylist()} & set(words)


def test_a_report_of_nothing_is_a_report(production):
    text = Path(production.judge(MONDAY).report_uri).read_text()
    assert "Nothing could be compared." in text
    assert "nothing was answered in this window" in text


def test_rows_that_cannot_be_read_any_more_are_counted(production):
    from include.lake.fencing import new_token
    from include.lake.partitions import read_partition, replace_partition

    production.serve(MONDAY)
    rows = read_partition(production.lake, "parcels/predictions", "2026-02-02")
    inputs = ["{" if i < 7 else text for i, text in enumerate(rows["inputs"].to_pylist())]
    rows = rows.set_column(rows.schema.get_field_index("inputs"), "inputs", pa.array(inputs))
    replace_partition(production.lake, "parcels/predictions", "2026-02-02", rows, token=new_token())
    assert production.judge(MONDAY).reasons == ("7 of 300 requests cannot be read any more",)

"""
The flagship of sensors: a station's 47 weeks through a real broker, counted against the file itself; a model beats
persistence.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from embedded.air_quality import ANCHOR, calendar_shift_days, install_readings, publish_due, published_shift_days
from embedded.air_quality_broker import broker_command, running_broker
from embedded.postgres import free_port
from include.evaluation.paired import compare_paired
from include.lake.incidents import read_incidents
from include.lake.partitions import read_partition
from include.lake.store import Lake
from include.modeling.fitting import fit_model
from include.modeling.labels import labels_of
from include.modeling.model import load_model, manifest_digest
from include.modeling.search import run_trials
from include.modeling.snapshot import pin_snapshot, read_snapshot
from include.registry.naive import naive_scores
from include.rehearsal import ingest
from include.sources.extraction import collect_partition
from include.workflow import Partition
from include.workflow.partitions import windows_between
from include.workflows.air_quality.features import build
from include.workflows.air_quality.workflow import workflow

pytestmark = pytest.mark.claim("flagships")

# The same declaration in months instead of 112 days: how time is cut changes no row.
BY_MONTH = workflow.model_copy(update={"partition": Partition(every="month", start=date(2025, 1, 1))})
SENT_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Played:
    """What was published into a lake, and how much of it each time."""

    lake: Lake
    home: Path
    now: datetime
    shift: timedelta
    n_published: tuple[int, int, int]
    n_collected: int

    @property
    def as_of(self) -> datetime:
        """The Monday of the anchor's week."""
        return datetime(ANCHOR.year, ANCHOR.month, ANCHOR.day, tzinfo=UTC) + self.shift

    @property
    def months(self) -> list[str]:
        """Those that a training as of then reads, the last one as far as it has come."""
        return [window.key for window in windows_between("month", self.as_of - timedelta(weeks=16), self.now)]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    home, now = tmp_path_factory.mktemp("home"), datetime.now(UTC)
    lake = Lake(uri=str(home / "lake"))
    with pytest.MonkeyPatch.context() as patch, running_broker(home, port=free_port(), monitor_port=free_port()) as uri:
        patch.setenv("UPDRAFT_HOME", str(home))
        moments = (now - timedelta(hours=2), now - timedelta(hours=2), now)
        n_published = [publish_due(home, uri, now=moment) for moment in moments]
        report = collect_partition(BY_MONTH, f"{now:%Y-%m}", connection_uri=uri, lake=lake, token=1)
        shift = timedelta(days=published_shift_days(home))
        played = Played(
            lake=lake,
            home=home,
            now=now,
            shift=shift,
            n_published=(*n_published,),
            n_collected=report.counts["messages"],
        )
        for key in played.months:
            ingest(BY_MONTH, key, connection_uri=None, lake=lake)
        yield played


@pytest.fixture(scope="module")
def hours(played: Played) -> dict[datetime, float | None]:
    """PM2.5 by hour on the demo's calendar, by csv alone; the file's hours are Beijing's, eight before UTC."""
    found = {}
    with install_readings(played.home).open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            at = datetime(*(int(row[name]) for name in ("year", "month", "day", "hour")), tzinfo=UTC) - timedelta(
                hours=8
            )
            found[at + played.shift] = None if row["pm2.5"] == "NA" else float(row["pm2.5"])
    assert len(found) == 43_824
    return found


def test_each_reading_is_published_once_and_none_before_its_time(played, hours):
    begin = datetime(2013, 1, 1, tzinfo=UTC) - timedelta(hours=8) + played.shift
    due = sum(begin <= at <= played.now - SENT_AFTER for at in hours)
    assert played.n_published == (due - 2, 0, 2)
    assert played.n_collected == due
    assert read_incidents(played.lake) == []


def test_every_hour_is_published_or_quarantined_as_the_file_says(played, hours):
    n_refused = 0
    for key in played.months:
        mine = {at: value for at, value in hours.items() if f"{at:%Y-%m}" == key and at <= played.now - SENT_AFTER}
        published = read_partition(played.lake, "air_quality/validated", key)
        refused = read_partition(played.lake, "air_quality/quarantine", key)
        assert dict(zip(published["measured_at"].to_pylist(), published["pm25"].to_pylist(), strict=True)) == {
            at: value for at, value in mine.items() if value is not None
        }
        assert refused["measured_at"].to_pylist() == sorted(at for at, value in mine.items() if value is None)
        assert all("gave no reading" in reason for row in refused["reasons"].to_pylist() for reason in row)
        n_refused += refused.num_rows
    assert n_refused >= 20


def test_a_row_knows_the_hours_before_it_as_the_file_has_them(played, hours):
    rows = read_partition(played.lake, "air_quality/validated", played.months[1]).to_pylist()
    assert len(rows) > 600
    for row in rows:
        for lag in (24, 27, 48):
            assert row[f"pm25_{lag}h"] == hours[row["measured_at"] - timedelta(hours=lag)]


def test_the_model_beats_persistence(played, hours, tmp_path, monkeypatch):
    """
    On four weeks that it never saw. Persistence, by the file and scikit-learn alone: the hour 24 before says how bad it
    will be.
    """
    monkeypatch.setenv("UPDRAFT_HOME", str(played.home))
    snapshot = pin_snapshot(BY_MONTH, played.as_of, lake=played.lake)
    run_trials(
        BY_MONTH,
        snapshot,
        lake=played.lake,
        training_id="t" * 16,
        worker=0,
        n_workers=1,
        budget_seconds=60,
        max_trials=3,
    )
    manifest = fit_model(BY_MONTH, snapshot, lake=played.lake, training_id="t" * 16, folder=tmp_path)
    model = load_model(tmp_path, expected_digest=manifest_digest(manifest))
    test, fitted = (read_snapshot(BY_MONTH, snapshot, lake=played.lake, part=part) for part in ("test", "fit"))
    y_true, scores = labels_of(BY_MONTH, test), model.predict(test)
    moments = test["measured_at"].to_pylist()
    assert y_true.tolist() == [int(hours[at] > 75) for at in moments]
    before = [hours[at - timedelta(hours=24)] for at in moments]
    persistence = np.array([np.nanmedian(np.array(before, float)) if value is None else value for value in before])
    assert roc_auc_score(y_true, scores) > roc_auc_score(y_true, persistence) + 0.05
    naive = naive_scores(BY_MONTH, fitted, test)
    assert roc_auc_score(y_true, naive) == pytest.approx(roc_auc_score(y_true, persistence), abs=0.005)
    assert compare_paired("roc_auc", y_true, scores, naive, random_state=0).p_better < 0.01
    assert compare_paired("roc_auc", y_true, naive, scores, random_state=0).p_better > 0.99


def test_no_feature_changes_with_the_hour_that_is_forecast(played):
    row = read_partition(played.lake, "air_quality/validated", played.months[1]).to_pylist()[100]
    known = {name for name in row if name.endswith("h")} | {"measured_at"}
    assert build(row) == build({name: row[name] for name in known})
    assert build({}) == dict.fromkeys(build(row))


@pytest.mark.parametrize("day", [date(2026, 11, 23), date(2026, 11, 29), date(2028, 2, 29)])
def test_the_calendar_moves_by_whole_weeks(day):
    shift = calendar_shift_days(day)
    assert shift % 7 == 0
    assert timedelta(0) <= day - (ANCHOR + timedelta(days=shift)) < timedelta(days=7)


def test_the_brokers_password_is_the_owners_alone(tmp_path):
    command = broker_command(tmp_path, port=1, monitor_port=2)
    assert os.stat(command[-1]).st_mode & 0o077 == 0
    assert os.stat(tmp_path / "air-quality-broker" / "password").st_mode & 0o077 == 0

"""
Months of flights, week by week, by the functions that the Dags call: nothing is clicked.

Each week the flights of its days are ingested and, as they would have been asked, answered by the champion; then the
monitor looks, a training runs as of the week's end, the gate judges, and what it lets through is promoted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from embedded.demo_data import calendar_shift_days, load_flights
from embedded.postgres import PostgresServer, create_database
from include.lake.ledger import DECISIONS, PROMOTIONS, DecisionRecord, current_champion, read_ledger
from include.lake.partitions import read_partition
from include.lake.store import Lake, open_or_create_table
from include.lake.verdicts import read_verdicts
from include.modeling.schema import iterate_rows
from include.monitoring.judgement import Judgement, judge_window
from include.registry.promotion import promote
from include.registry.store import Registry, open_registry
from include.registry.versions import load_version
from include.rehearsal import ingest, train
from include.serving.prediction_log import PREDICTIONS_SCHEMA
from include.settings import read_settings
from include.workflow import Workflow
from include.workflows.flight_delays.workflow import workflow as declared

pytestmark = [pytest.mark.claim("months"), pytest.mark.timeout(1800)]

# The first model is trained as of Monday 2 September 2013, on nine weeks; the last as of 16 December.
FIRST, N_WEEKS, N_HISTORY = datetime(2013, 8, 26, tzinfo=UTC), 16, 8
SERVED_A_DAY = 150


@dataclass(frozen=True)
class Months:
    """What came of each week."""

    workflow: Workflow
    lake: Lake
    registry: Registry
    first: datetime
    decisions: list[DecisionRecord] = field(default_factory=list)

    def judge(self, week: datetime) -> Judgement:
        """Judge a week, a day after its end."""
        now = week + timedelta(days=8)
        key = f"{week:%Y-%m-%d}"
        return judge_window(self.workflow, key, lake=self.lake, registry=self.registry, now=now)

    def serve(self, day: datetime, rows: pa.Table) -> None:
        """Answer a part of some flights as the endpoint would have, spread over a day."""
        champion = current_champion(self.lake, self.workflow.name)
        if champion is None:
            return
        model = load_version(self.registry, self.workflow.name, champion.model_version, lake=self.lake)
        rows = rows.take(list(range(0, rows.num_rows, max(1, rows.num_rows // SERVED_A_DAY))))
        columns = model.manifest.input_columns
        names = [column.name for column in columns]
        key = f"{day:%Y-%m-%d}"
        answered = [
            {
                "request_id": f"{key}-{i}",
                "row_index": 0,
                "inputs": orjson.dumps(dict(zip(names, values, strict=True))).decode(),
                "label": bool(score >= 0.5),
                "score": float(score),
                "model_version": champion.model_version,
                "predicted_at": day + timedelta(minutes=i),
                "partition_key": key,
            }
            for i, (values, score) in enumerate(zip(iterate_rows(rows, columns), model.predict(rows), strict=True))
        ]
        name = f"{self.workflow.name}/predictions"
        table = open_or_create_table(self.lake, name, PREDICTIONS_SCHEMA, partition_by="partition_key")
        write_deltalake(table, pa.Table.from_pylist(answered, schema=PREDICTIONS_SCHEMA), mode="append")

    def validated(self, day: datetime) -> pa.Table:
        """The published flights of a day."""
        return read_partition(self.lake, f"{self.workflow.name}/validated", f"{day:%Y-%m-%d}")


@pytest.fixture(scope="module")
def months(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Months]:
    """The months, lived through: the flights with a short search, and a monitor that looks once a week."""
    search = declared.training.search.model_copy(
        update={"budget_seconds": 3.0, "families": ("boosting",), "max_members": 1}
    )
    workflow = declared.model_copy(
        update={
            "training": declared.training.model_copy(update={"search": search}),
            "monitoring": declared.monitoring.model_copy(update={"every": "week"}),
        }
    )
    home = tmp_path_factory.mktemp("months")
    today = datetime.now(UTC).date() - timedelta(weeks=22)  # so that all of 2013 lies in the past of this calendar
    create_database(postgres, "months")
    uri = postgres.uri("months")
    load_flights(uri, home=home, today=today)
    first = FIRST + timedelta(days=calendar_shift_days(today))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(home))
        settings = read_settings()
        lived = Months(workflow, Lake(uri=settings.lake_uri), open_registry(settings), first)
        for n in range(-N_HISTORY, N_WEEKS):
            live_a_week(lived, first + timedelta(weeks=n), uri, trains=n >= 0)
        yield lived


def live_a_week(months: Months, week: datetime, uri: str, *, trains: bool) -> None:
    """Ingest, serve, judge, train and promote, as the schedules of the Dags would."""
    for day in (week + timedelta(days=n) for n in range(7)):
        key = f"{day:%Y-%m-%d}"
        line = ingest(months.workflow, key, connection_uri=uri, lake=months.lake)
        assert line.rows_in == line.rows_published + line.rows_quarantined + line.rows_duplicate
        months.serve(day, months.validated(day))
    if not trains:
        return
    months.judge(week)
    decision = train(months.workflow, week + timedelta(weeks=1), lake=months.lake, registry=months.registry).decision
    months.decisions.append(decision)
    if decision.verdict == "PROMOTE":
        promote(
            months.workflow,
            decision.model_version,
            lake=months.lake,
            registry=months.registry,
            target="local",
            decided_by="months",
        )


def test_models_are_promoted_and_refused_each_with_its_reasons(months: Months, record_property) -> None:
    verdicts = [decision.verdict for decision in months.decisions]
    record_property(
        "figure",
        f"{len(verdicts)} weekly trainings: {verdicts.count('PROMOTE')} promoted, {verdicts.count('HOLD')} held, "
        f"{verdicts.count('REJECT')} rejected",
    )
    assert len(verdicts) == N_WEEKS
    assert verdicts.count("PROMOTE") >= 1
    assert verdicts.count("PROMOTE") < N_WEEKS
    assert all(json.loads(decision.reasons) for decision in months.decisions)
    assert read_ledger(months.lake, DECISIONS).num_rows == N_WEEKS


def test_the_champion_never_gets_older(months: Months) -> None:
    lines = read_ledger(months.lake, PROMOTIONS).sort_by("epoch").to_pylist()
    as_ofs = [line["as_of"] for line in lines]
    assert as_ofs == sorted(as_ofs)
    shipped = [decision.model_version for decision in months.decisions if decision.verdict == "PROMOTE"]
    assert [line["model_version"] for line in lines] == shipped


def test_the_change_of_autumn_is_seen_and_explained(months: Months, record_property) -> None:
    """The share of late flights falls by half in September, and doubles in December."""
    lines = read_verdicts(months.lake, months.workflow.name)
    alarms = [line for line in lines if line.verdict in ("drift", "decay")]
    asked = sorted({line.partition_key for line in lines if line.is_requested})
    shift = months.first - FIRST
    weeks = sorted({line.window_end - timedelta(weeks=1) - shift for line in alarms})
    of_2013 = ", ".join(f"{week:%d %b}" for week in weeks)
    reasons = [reason for line in alarms if line.verdict == "drift" for reason in json.loads(line.reasons)]
    causes = Counter(reason.partition(":")[0] for reason in reasons if ":" in reason).most_common()
    record_property(
        "figure",
        f"{len(lines)} verdicts on {N_WEEKS} weeks: {len(alarms)} alarms (weeks of {of_2013 or 'none'}), "
        f"{len(asked)} trainings asked for; drifted: {', '.join(f'{name} {n} ×' for name, n in causes)}",
    )
    of_december = datetime(2013, 11, 25, tzinfo=UTC) + shift
    assert [line for line in alarms if line.window_end <= of_december]
    assert [line for line in alarms if line.window_end > of_december]
    assert all(json.loads(line.reasons) for line in alarms)
    assert all(line.request for line in alarms), "each alarm says why it asks for a training, or why not"


def test_control_a_week_like_those_of_training_is_no_alarm(months: Months, record_property) -> None:
    """A sample of the rows that the champion was trained on, served once more: the same monitor says ok."""
    champion = current_champion(months.lake, months.workflow.name)
    assert champion is not None
    week = months.first + timedelta(weeks=N_WEEKS)
    # All eight weeks that it was fitted on; on the ninth it was judged. Weather moves on from week to week, so that a
    # part of them alone would have drifted from the whole.
    days = [champion.as_of + timedelta(days=n) for n in range(-63, -7)]
    rows = pa.concat_tables([months.validated(day) for day in days])
    order = np.random.default_rng(0).permutation(rows.num_rows)
    for n, sample in enumerate(np.array_split(order, 7)):
        months.serve(week + timedelta(days=n), rows.take(sample))
    found = months.judge(week)
    said = "; ".join((found.verdict, *found.reasons))
    record_property("figure", f"a week of a sample of the champion's own training rows, served again: {said}")
    assert found.verdict == "ok"

"""
A wrong declaration is refused with the path to the field, the value and the remedy; a right one is light
and stable.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.errors import DeclarationError, PartitionError
from include.settings import PROJECT_ROOT
from include.workflow import (
    Canary,
    Costs,
    DatabaseSource,
    Decay,
    Deployment,
    Drift,
    Fairness,
    Features,
    Gate,
    LocalEndpoint,
    Monitoring,
    Paired,
    Partition,
    Quality,
    SageMakerEndpoint,
    Search,
    Target,
    Training,
    Workflow,
)
from include.workflow.durations import describe_duration, parse_duration
from include.workflow.partitions import key_of_moment, window_of_key, windows_between
from tests.factories import declare_workflow

CLOUD = {
    "region": "eu-central-1",
    "bucket": "team-models",
    "role_arn": "arn:aws:iam::123456789012:role/updraft-serving",
    "endpoint_name": "parcels",
    "image_uri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/updraft-serving:0.1.0",
}

WRONG_PARTS: list[tuple[Any, dict[str, Any], str]] = [
    (Search, {"metric": "aucc"}, "Search.metric: 'aucc': input should be 'average_precision'"),
    (Search, {"budget_seconds": 0}, "Search.budget_seconds: 0: input should be greater than 0"),
    (Search, {"budget_seconds": float("nan")}, "Search.budget_seconds: nan"),
    (Search, {"workers": 0}, "Search.workers: 0"),
    (Search, {"worker": 2}, "Search.worker: is unknown: did you mean 'workers'?"),
    (Search, {"families": []}, "Search.families: []"),
    (Drift, {"minimum_effect": 1.5}, "Drift.minimum_effect: 1.5: input should be less than 1"),
    (Drift, {"persistence": 0}, "Drift.persistence: 0: input should be greater than or equal to 1"),
    (Drift, {"minimum_rows": 5}, "Drift.minimum_rows: 5"),
    (Drift, {"alpha": 0}, "Drift.alpha: 0: input should be greater than 0"),
    (Decay, {"drop": 0}, "Decay.drop: 0: input should be greater than 0"),
    (Monitoring, {"label_coverage": 0}, "Monitoring.label_coverage: 0: input should be greater than 0"),
    (Monitoring, {"label_key": ["a", "a"]}, "a column is named twice: name each once"),
    (Monitoring, {"cool_down": "0 days"}, "a duration must be longer than zero"),
    (Monitoring, {"label_dealy": "1 day"}, "Monitoring.label_dealy: is unknown: did you mean 'label_delay'?"),
    (
        Training,
        {"window": "8 fortnights"},
        "Training.window: '8 fortnights': not a duration: write a number and a unit",
    ),
    (Training, {"window": "0 weeks"}, "Training.window: '0 weeks': a duration must be longer than zero"),
    (
        Training,
        {"window": "1 week", "validation": "2 weeks"},
        "validation (2 weeks) must be shorter than window (1 week)",
    ),
    (Training, {"window_minimum": 0}, "window_minimum=0 would train on nothing"),
    (Training, {"every": "fortnight"}, "Training.every: 'fortnight'"),
    (Partition, {"every": "dya", "start": "2026-01-01"}, "Partition.every: 'dya'"),
    (Partition, {}, "Partition.start: is missing"),
    (Partition, {"start": "01/02/2026"}, "Partition.start: '01/02/2026'"),
    (Quality, {"max_quarantined": 0}, "Quality.max_quarantined: 0: input should be greater than 0"),
    (Quality, {"max_quarantined": 5}, "Quality.max_quarantined: 5: input should be less than or equal to 1"),
    (Quality, {"schema_drift": "frozen"}, "Quality.schema_drift: 'frozen': input should be 'evolve' or 'freeze'"),
    (Quality, {"history": "a month"}, "Quality.history: 'a month': not a duration"),
    (Paired, {"alpha": 0.7}, "Paired.alpha: 0.7"),
    (Paired, {"alpha": 1e-6}, "Paired.alpha: 1e-06: input should be greater than or equal to 0.0001"),
    (Gate, {"minimum": {"roc_acu": 0.6}}, "Gate.minimum.roc_acu"),
    (Paired, {"rule": "best"}, "Paired.rule: 'best': input should be 'better' or 'not_worse'"),
    (Paired, {"block": "0 days"}, "Paired.block: '0 days': a duration must be longer than zero"),
    (Gate, {"minimum_rows": 1}, "Gate.minimum_rows: 1"),
    (Gate, {"metrics": ["roc_auc", "roc_auc"]}, "names one twice: each is a test of its own"),
    (Gate, {"max_calibration_error": 1.5}, "Gate.max_calibration_error: 1.5"),
    (Fairness, {"groups": []}, "Fairness.groups: []: tuple should have at least 1 item"),
    (Fairness, {"groups": ["depot"], "max_gap": -0.1}, "Fairness.max_gap: -0.1"),
    (Gate, {"max_latency_ms": -1}, "Gate.max_latency_ms: -1"),
    (Canary, {"share": 0.9}, "Canary.share: 0.9"),
    (Decay, {"drop": 5}, "Decay.drop: 5"),
    (LocalEndpoint, {"url": "localhost:80"}, "LocalEndpoint.url: 'localhost:80'"),
    (Canary, {"at_most": "2 hours"}, "Canary.at_most: '2 hours': the task that waits for a canary may take an hour"),
    (SageMakerEndpoint, {**CLOUD, "region": "moon"}, "SageMakerEndpoint.region: 'moon'"),
    (SageMakerEndpoint, {**CLOUD, "role_arn": "admin"}, "SageMakerEndpoint.role_arn: 'admin'"),
    (SageMakerEndpoint, {**CLOUD, "bucket": "Models"}, "SageMakerEndpoint.bucket: 'Models'"),
    (SageMakerEndpoint, {**CLOUD, "endpoint_name": "a_b"}, "SageMakerEndpoint.endpoint_name: 'a_b'"),
    (SageMakerEndpoint, {**CLOUD, "endpoint_name": "a-v1-0123456789ab"}, "looks like the name of one version"),
    (SageMakerEndpoint, {**CLOUD, "image_uri": "x/updraft:latest"}, "the tag 'latest' may be another image tomorrow"),
    (SageMakerEndpoint, {**CLOUD, "instance_type": "large"}, "SageMakerEndpoint.instance_type: 'large'"),
    (SageMakerEndpoint, {**CLOUD, "conn": "aws"}, "SageMakerEndpoint.conn: is unknown: did you mean 'conn_id'?"),
    (
        Deployment,
        {"targets": ("sagemaker",)},
        "a target is declared by its class: LocalEndpoint() or SageMakerEndpoint(...)",
    ),
    (Deployment, {"targets": (SageMakerEndpoint(**CLOUD),) * 2}, "names one SageMaker endpoint twice"),
    (
        Deployment,
        {"targets": (SageMakerEndpoint(**CLOUD),), "canary": Canary()},
        "instance_count=1 of endpoint 'parcels' can't give",
    ),
    (Target, {"column": "is late"}, "Target.column: 'is late'"),
    (Target, {"column": "y", "task": "ranking"}, "Target.task: 'ranking'"),
    (Target, {"column": "y", "task": "regression", "quantile": 1}, "Target.quantile: 1: input should be less than 1"),
    (Target, {"column": "y", "quantile": 0.9}, "quantile=0.9 is for values: task='classification' predicts none"),
    (Target, {"column": "y", "goal": "recall@0.6"}, "Target.goal: 'recall@0.6': string should match pattern"),
    (
        Target,
        {"column": "y", "goal": "f1", "costs": Costs()},
        "goal='f1' and costs both say what to choose the threshold for",
    ),
    (Target, {"column": "y", "task": "regression", "goal": "f1"}, "task='regression' has none, leave them out"),
    (Costs, {"false_positive": 0, "false_negative": 0}, "both mistakes cost nothing"),
    (Features, {"builder": "build"}, "Features.builder: 'build'"),
    (DatabaseSource, {"query": "q.sql", "event_time": "t", "known_time": "k"}, "DatabaseSource.conn_id: is missing"),
    (
        DatabaseSource,
        {"conn_id": "db", "query": "q.sql", "event_time": "a; drop", "known_time": "k"},
        "DatabaseSource.event_time: 'a; drop'",
    ),
]


@pytest.mark.parametrize(("part", "values", "message"), WRONG_PARTS, ids=[message[:50] for *_, message in WRONG_PARTS])
def test_wrong_part_names_field_value_and_remedy(part, values, message):
    with pytest.raises(DeclarationError) as caught:
        part(**values)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 24


WRONG_WORKFLOWS: list[tuple[dict[str, Any], str]] = [
    ({"name": "Flight Delays"}, "Workflow.name: 'Flight Delays'"),
    ({"description": ""}, "Workflow.description: ''"),
    ({"sauce": 1}, "Workflow.sauce: is unknown: did you mean 'source'?"),
    ({"expectations": "missing.json"}, "expectations='missing.json': no such file in"),
    ({"expectations": "../suite.json"}, "name a file in the workflow's own folder"),
    ({"features": Features(builder="nowhere.build")}, "features.builder='nowhere.build': no such module in"),
    ({"features": Features(exclude=["is_late"])}, "features.exclude names the target 'is_late'"),
    ({"target": Target(column="row_id")}, "target.column='row_id' is a name that Updraft gives itself"),
    (
        {"partition": Partition(every="month", start=date(2026, 1, 1))},
        "training.every='week' does not go with partition.every='month'",
    ),
    ({"gate": Gate(metrics=("mae",))}, "gate.metrics: 'mae' is no metric of target.task='classification'"),
    (
        {"gate": Gate(fairness={"groups": ["depot"], "metric": "r2"})},
        "gate.fairness.metric: 'r2' is no metric of target.task",
    ),
    (
        {
            "gate": Gate(max_calibration_error=0.1),
            "target": Target(column="weight_kg", task="regression"),
            "training": Training(),
        },
        "gate.max_calibration_error is about probabilities: target.task='regression' predicts none",
    ),
    ({"source": {"conn_id": "db"}}, "Workflow.source: {'conn_id': 'db'}: a source is declared by its class"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_WORKFLOWS, ids=[message[:50] for _, message in WRONG_WORKFLOWS])
def test_wrong_workflow_names_field_value_and_remedy(tmp_path, changes, message):
    with pytest.raises(DeclarationError) as caught:
        declare_workflow(tmp_path, **changes)
    assert message in str(caught.value)


def test_many_problems_are_counted_and_the_first_shown():
    with pytest.raises(DeclarationError, match="and 4 more"):
        Search(**{f"unknown_{i}": i for i in range(12)})


def test_shortest_useful_workflow(tmp_path):
    """A source, a target and a suite: every other part has a default."""
    declare_workflow(tmp_path)
    workflow = Workflow(
        name="short",
        description="The least.",
        source=DatabaseSource(conn_id="db", query="extract.sql", event_time="sent_at", known_time="recorded_at"),
        target=Target(column="is_late"),
        folder=tmp_path,
    )
    assert workflow.training.window == timedelta(weeks=8)
    assert workflow.start == datetime(2020, 1, 1, tzinfo=UTC)
    assert "SELECT" in (workflow.folder / "extract.sql").read_text()


def test_folder_is_the_declaring_files_own(tmp_path):
    declare_workflow(tmp_path)
    (tmp_path / "workflow.py").write_text(
        "from include.workflow import *\n"
        "workflow = Workflow(name='w', description='d', target=Target(column='is_late'),\n"
        "    source=DatabaseSource(conn_id='db', query='extract.sql', event_time='a', known_time='b'))\n"
        "print(workflow.folder)\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "workflow.py"],
        env={"PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
    )
    assert Path(done.stdout.strip()) == tmp_path.resolve()


def test_digest_changes_with_any_file_or_value(tmp_path):
    first = declare_workflow(tmp_path)
    before = first.digest()
    assert declare_workflow(tmp_path).digest() == before
    assert declare_workflow(tmp_path, description="Other.").digest() != before
    (tmp_path / "features.py").write_text("def build(row): return {}\n")
    assert first.digest() != before


def test_a_deployment_is_the_same_when_read_back_as_it_is_kept_with_a_version():
    deployment = Deployment(targets=(LocalEndpoint(), SageMakerEndpoint(**CLOUD, instance_count=2)), canary=Canary())
    assert Deployment(**deployment.model_dump(mode="json")) == deployment


def test_importing_a_declaration_imports_nothing_heavy():
    script = (
        "import sys; import include.workflow\n"
        "print([m for m in ('pandas', 'numpy', 'sklearn', 'great_expectations', 'mlflow', 'pyarrow', 'airflow') if m "
        "in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("text", ["1 minute", "90 minutes", "1 hour", "2 days", "8 weeks"])
def test_durations_round_trip(text):
    assert describe_duration(parse_duration(text)) == text


@pytest.mark.parametrize(
    ("every", "key", "start", "end"),
    [
        ("hour", "2026-03-29T01", datetime(2026, 3, 29, 1), datetime(2026, 3, 29, 2)),
        ("day", "2024-02-29", datetime(2024, 2, 29), datetime(2024, 3, 1)),
        ("week", "2026-11-23", datetime(2026, 11, 23), datetime(2026, 11, 30)),
        ("month", "2026-12", datetime(2026, 12, 1), datetime(2027, 1, 1)),
    ],
)
def test_partition_bounds(every, key, start, end):
    window = window_of_key(every, key)
    assert (window.start, window.end) == (start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    assert key_of_moment(every, window.end - timedelta(microseconds=1)) == key


@pytest.mark.parametrize("every", ["hour", "day", "week", "month"])
def test_windows_cover_400_days_without_gap_or_overlap(every):
    start = datetime(2026, 1, 5, tzinfo=UTC)
    windows = windows_between(every, start, start + timedelta(days=400))
    assert all(a.end == b.start for a, b in itertools.pairwise(windows))
    assert windows[0].start <= start
    assert windows[-1].end >= start + timedelta(days=400)
    assert [w.key for w in windows] == sorted(w.key for w in windows)


@pytest.mark.parametrize(
    ("every", "key"),
    [
        ("day", "2026-1-5"),
        ("day", "2026-02-30"),
        ("day", "2026-01-05T00"),
        ("week", "2026-11-24"),
        ("month", "2026-13"),
        ("hour", "2026-01-05"),
        ("day", "../../etc"),
        ("day", "2026-01-05' OR '1'='1"),
        ("day", "２０２６-01-05"),
        ("day", " 2026-01-05"),
        ("day", ""),
        ("day", None),
    ],
)
def test_malformed_keys_are_refused(every, key):
    with pytest.raises(PartitionError, match="write it like"):
        window_of_key(every, key)


@pytest.mark.parametrize("column", ["is_late", "recorded_at", "row_id", "weight_kg"])
def test_a_label_key_names_what_predictions_keep(tmp_path: Path, column: str) -> None:
    features = Features(builder="features.build", exclude=("weight_kg",))
    with pytest.raises(DeclarationError, match=f"monitoring.label_key names '{column}', which no model reads"):
        declare_workflow(tmp_path, features=features, monitoring=Monitoring(label_key=(column,)))

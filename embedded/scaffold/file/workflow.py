"""The declaration of `$name`."""

from datetime import date

from include.settings import read_settings
from include.workflow import Features, FileSource, Gate, Partition, Search, Target, Training, Workflow

# The sample's folder: put your own here, or s3://bucket/prefix.
FOLDER = read_settings().home.resolve() / "samples" / "$name"

workflow = Workflow(
    name="$name",
    description="$question",
    source=FileSource(
        path=f"{FOLDER}/{{partition_key}}.csv",
        format="csv",
        columns={
            "event_id": "integer",
            "happened_at": "timestamp",
            "recorded_at": "timestamp",
            "kind": "text",
            "amount": "number",
            "is_late": "boolean",
        },
        event_time="happened_at",
        known_time="recorded_at",
        key=("event_id",),
    ),
    partition=Partition(every="day", start=date.fromisoformat("$start")),
    target=Target(column="is_late"),
    features=Features(builder="features.build"),
    training=Training(window="3 weeks", test="1 week", search=Search(budget_seconds=20)),
    # Made for a sample: set what your own model has to reach.
    gate=Gate(minimum={"average_precision": 0.3}),
)

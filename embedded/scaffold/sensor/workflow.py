"""The declaration of `$name`."""

from datetime import date

from include.workflow import Features, Gate, Partition, Search, SensorSource, Target, Training, Workflow

workflow = Workflow(
    name="$name",
    description="$question",
    source=SensorSource(
        conn_id="${name}_source",
        topics=("$name/+/events",),
        fields={
            "device": "text",
            "event_id": "integer",
            "happened_at": "timestamp",
            "recorded_at": "timestamp",
            "kind": "text",
            "amount": "number",
            "is_late": "boolean",
        },
        device="device",
        event_time="happened_at",
        known_time="recorded_at",
        key=("event_id",),
        lateness="60 days",  # for the sample, which tells of weeks at once
    ),
    partition=Partition(every="day", start=date.fromisoformat("$start")),
    target=Target(column="is_late"),
    features=Features(builder="features.build"),
    training=Training(window="3 weeks", test="1 week", search=Search(budget_seconds=20)),
    # Made for a sample: set what your own model has to reach.
    gate=Gate(minimum={"average_precision": 0.3}),
)

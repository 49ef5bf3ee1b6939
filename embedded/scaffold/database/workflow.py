"""The declaration of `$name`."""

from datetime import date

from include.workflow import DatabaseSource, Features, Gate, Partition, Search, Target, Training, Workflow

workflow = Workflow(
    name="$name",
    description="$question",
    source=DatabaseSource(
        conn_id="${name}_source",
        query="extract.sql",
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

"""The declaration of `$name`."""

from datetime import date

from include.workflow import Features, Gate, Partition, Search, Target, Training, WebSource, Workflow

workflow = Workflow(
    name="$name",
    description="$question",
    source=WebSource(
        conn_id="${name}_source",
        start=("index.html",),
        follow=(r"/day-\d{4}-\d\d-\d\d\.html$$",),
        item="article",
        fields={
            "event_id": "@id",
            "happened_at": "time@datetime",
            "recorded_at": ".recorded@datetime",
            "kind": ".kind::text",
            "amount": ".amount::text",
            "is_late": ".late::text",
        },
        types={"amount": "number", "is_late": "boolean"},
        event_time="happened_at",
        known_time="recorded_at",
        key=("event_id",),
        contact="https://example.org/write-to-us",  # who answers for the crawl
    ),
    partition=Partition(every="day", start=date.fromisoformat("$start")),
    target=Target(column="is_late"),
    features=Features(builder="features.build"),
    training=Training(window="3 weeks", test="1 week", search=Search(budget_seconds=20)),
    # Made for a sample: set what your own model has to reach.
    gate=Gate(minimum={"average_precision": 0.3}),
)

"""The declaration of `release_notes`: the entries of SQLAlchemy's release notes, a month of releases at a time."""

from datetime import date

from include.workflow import (
    Deployment,
    Features,
    Gate,
    LocalEndpoint,
    Monitoring,
    Paired,
    Partition,
    Search,
    Target,
    Training,
    WebSource,
    Workflow,
)

workflow = Workflow(
    name="release_notes",
    description="Which entries of release notes are bug fixes?",
    source=WebSource(
        conn_id="release_notes_site",
        start=("index.html",),
        follow=(r"/changelog_\d+\.html$",),
        parser="pages.parse",
        types={
            "entry": "text",
            "release": "text",
            "released_at": "time",
            "section": "text",
            "tags": "text",
            "text": "text",
            "n_code": "integer",
            "n_references": "integer",
            "is_bugfix": "boolean",
        },
        # Before December 2011 nobody tagged bugs: whether such an entry mends one is not known.
        optional=("tags", "text", "is_bugfix"),
        event_time="released_at",
        known_time="released_at",
        # The same words may stand below two releases.
        key=("release", "entry"),
        # Some months have no release.
        may_be_empty=True,
        max_pages=50,
        delay_seconds=0.1,
        contact="https://github.com/updraft/updraft",
    ),
    partition=Partition(every="month", start=date(2006, 1, 1), delay="1 day"),
    expectations="expectations.json",
    target=Target(column="is_bugfix", task="classification", positive=True),
    # The tags hold the answer; an entry's own digest and its release's number say nothing of it.
    features=Features(builder="features.build", exclude=("tags", "entry")),
    training=Training(
        every="month",
        # A month has some 25 entries, one in five of them no bug fix: fewer years would judge by a handful of these.
        window="260 weeks",
        test="104 weeks",
        validation="26 weeks",
        minimum_rows=300,
        search=Search(metric="roc_auc", budget_seconds=30, workers=2),
    ),
    gate=Gate(
        # Measured in 2023, 2024 and 2025: roc_auc .896 to .946, average_precision .968 to .988, of .75 to .81 by
        # chance.
        minimum={"roc_auc": 0.85, "average_precision": 0.92},
        against_champion=Paired(alpha=0.05, tolerance=0.005),
        minimum_rows=100,
        max_latency_ms=50,
        max_size_mb=200,
    ),
    deployment=Deployment(targets=(LocalEndpoint(),)),
    monitoring=Monitoring(every="day", label_delay="1 day"),
)

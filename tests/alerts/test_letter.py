"""What a message says, and what it never says."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest

from include.alerts.composition import Composer
from include.alerts.failures import RunFacts, record_task_failure
from include.alerts.letter import ChannelSettings, Letter
from include.alerts.mail import MailChannel
from include.alerts.outbox import Outbox
from include.errors import ContractViolationError
from include.lake.incidents import Origin, close_incident, open_incident, read_incidents
from include.lake.partitions import replace_partition
from include.lake.store import Lake
from include.quality.validation import validate_partition
from include.workflow import Workflow
from tests.alerts.receivers import HookSink, MailSink
from tests.factories import parcel_rows

COMPOSE = Composer(base_url="https://airflow.example.com/")
NAME = {"workflow": "parcels", "partition_key": "2026-01-05", "kind": "failed_validation", "subject": "ingest.validate"}
DETAILS = {
    "reasons": [["depot: in set", 1200], ["distance_km: between 0 and 5000 <b>", 7]],
    "samples": [{"source_position": "17", "depot": "Aaaa", "reasons": "depot: in set"}],
    "triage": "mend the source or the suite",
    "page": "2026-01-05/scheduled_2026-01-06-454349e4.html",
}


def told(lake: Lake, message: str = "alert") -> Letter:
    open_incident(
        lake,
        **NAME,
        summary="parcels 2026-01-05 is not published:\n  31 of 240 rows break a rule",
        counts={"rows_in": 12_000, "rows_refused": 1207},
        origin=Origin(dag_id="parcels.ingest", run_id="scheduled__2026-01-06T00:00:00+00:00", task_id="validate"),
        details=DETAILS,
    )
    if message == "recovery":
        close_incident(lake, **NAME)
    return COMPOSE(read_incidents(lake), message)


def test_a_letter_tells_what_a_person_needs(lake: Lake) -> None:
    letter = told(lake)
    assert letter.subject == "[Updraft] parcels 2026-01-05: validation failed"
    for part in (
        "Rows: 12,000 rows in, 1,207 break a rule",
        "     1,200  depot: in set",
        "  depot: Aaaa",
        "What to do: mend the source or the suite",
        "Open the run in Airflow: https://airflow.example.com/dags/parcels.ingest/runs/scheduled__2026-01-06T00%3A00%3A00%2B00%3A00/tasks/validate",
        "Open the quarantine: https://airflow.example.com/updraft/quarantine?workflow=parcels&partition=2026-01-05",
        "Open the validation's page: https://airflow.example.com/updraft/data_docs/parcels/2026-01-05/scheduled_2026-01-06-454349e4.html",
    ):
        assert part in letter.text


def test_html_says_the_same_and_escapes(lake: Lake) -> None:
    html = told(lake).html
    for part in (
        "12,000 rows in",
        "1,200",
        "depot: in set",
        "Aaaa",
        "mend the source or the suite",
        "workflow=parcels&amp;partition",
    ):
        assert part in html
    assert "between 0 and 5000 &lt;b&gt;" in html
    assert "<b>" not in html.replace("<b>What to do:</b>", "")
    assert "src=" not in html
    assert "<script" not in html
    assert "@import" not in html


def test_a_program_finds_the_same(lake: Lake) -> None:
    fields = json.loads(json.dumps(told(lake).fields))
    (incident,) = fields["incidents"]
    assert (fields["event"], fields["workflow"]) == ("alert", "parcels")
    assert incident["counts"] == {"rows_in": 12_000, "rows_refused": 1207}
    assert incident["reasons"][0] == {"reason": "depot: in set", "rows": 1200}
    assert incident["sample_rows"] == DETAILS["samples"]
    assert set(incident["links"]) == {"run", "quarantine", "page"}
    assert incident["closed_at"] is None


def test_a_recovery_says_since_when_and_shows_no_rows(lake: Lake) -> None:
    letter = told(lake, "recovery")
    assert letter.subject == "[Updraft] Recovered: parcels 2026-01-05: validation failed"
    assert "Over since: 20" in letter.text
    assert "depot" not in letter.text
    assert "Aaaa" not in letter.html


def test_an_incident_without_run_or_partition_has_no_dead_link(lake: Lake) -> None:
    open_incident(lake, **{**NAME, "partition_key": ""}, summary="s", counts={})
    letter = COMPOSE(read_incidents(lake), "alert")
    assert "http" not in letter.text
    assert "href" not in letter.html


@pytest.mark.parametrize(
    "changes",
    [{"kind": "missing_data", "subject": "ingest"}, {"kind": "lost_task", "subject": "monitor.collect_predictions"}],
)
def test_what_has_no_quarantine_has_no_link_to_it(lake: Lake, changes: dict[str, str]) -> None:
    open_incident(lake, **{**NAME, **changes}, summary="s", counts={})
    assert "quarantine" not in COMPOSE(read_incidents(lake), "alert").text


def test_a_storm_of_hundreds_stays_one_page(lake: Lake) -> None:
    told(lake)
    (incident,) = read_incidents(lake)
    letter = COMPOSE([replace(incident, partition_key=f"day-{n}") for n in range(300)], "alert")
    assert letter.subject == "[Updraft] parcels: 300 incidents (300 × validation failed)"
    assert "… and 200 more" in letter.text
    assert "… and 200 more" in letter.html
    assert len(letter.html) < 100_000


# Personal data: 50 values that are in the failing rows, and nowhere else.


def canaries() -> list[str]:
    seeds = [hashlib.sha256(f"canary {n}".encode()).hexdigest() for n in range(50)]
    return [f"{seed[:8].upper()}.{seed[8:16]}@{seed[16:20]}.example" for seed in seeds]


def forms(value: str) -> Iterator[str]:
    """Plain, in base64 at each of its three alignments, as part of a URL, in hexadecimal digits."""
    data = value.encode()
    yield from (value, value.upper(), quote(value, safe=""), data.hex())
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + data).decode().rstrip("=")
        yield encoded[4:-4]


@pytest.fixture
def refused(workflow: Workflow, lake: Lake) -> ContractViolationError:
    """A day of which no row is good: each has somebody's mail address as its depot."""
    rows = parcel_rows(n_rows=100)
    rows = rows.set_column(rows.schema.get_field_index("depot"), "depot", pa.array(canaries() * 2))
    rows = rows.append_column("source_position", pa.array(range(100), pa.int64()))
    raw = replace_partition(lake, "parcels/raw", "2026-01-05", rows, token=1)
    with pytest.raises(ContractViolationError) as error:
        validate_partition(workflow, "2026-01-05", lake=lake, raw_version=raw.version, run_id="r")
    return error.value


def test_a_stopped_partition_says_how_many_rows_and_why(refused: ContractViolationError) -> None:
    assert refused.counts == {"rows_in": 100, "rows_refused": 100, "rows_duplicate": 0}
    assert [(n, "depot" in reason) for reason, n in refused.reasons] == [(100, True)]
    assert [row["source_position"] for row in refused.samples] == ["0", "1", "2"]
    assert {row["depot"] for row in refused.samples} <= {row["depot"] for row in refused.samples if "@" in row["depot"]}
    assert set(refused.samples[0]) >= {"depot", "distance_km", "reasons"}


def test_no_personal_value_is_in_any_message_log_or_incident(
    refused: ContractViolationError,
    workflow: Workflow,
    lake: Lake,
    outbox: Outbox,
    hook: HookSink,
    mail: MailSink,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = RunFacts(dag_id="parcels.ingest", run_id="r", partition_key="2026-01-05", conf={}, run_after=None)
    record_task_failure(lake, workflow, run, task_id="validate", error=refused)
    assert outbox.deliver().sent == 1
    channel = MailChannel(ChannelSettings(name="ops_mail", **mail.settings()))
    channel.send(replace(outbox.compose(read_incidents(lake), "alert"), delivery_id="d"))
    (message,) = mail.messages
    parts = [str(part.get_content()) for part in message.iter_parts()]  # type: ignore[attr-defined]
    ledger = b"".join(path.read_bytes() for path in sorted((tmp_path / "lake" / "ledger").rglob("*")) if path.is_file())
    told = "\n".join(
        [message.as_string(), *parts, hook.requests[0][1].decode(), caplog.text, repr(read_incidents(lake))]
    )
    found = [form for value in canaries() for form in forms(value) if form in told or form.encode() in ledger]
    assert found == []
    assert "depot" in told  # what is looked through is what was sent


def test_the_control_finds_a_value_in_each_form() -> None:
    """An exception's own text, as a naive callback sends it, is found however it is encoded."""
    value = canaries()[7]
    text = f"could not convert {value!r}"
    for sent in (text, base64.b64encode(text.encode()).decode(), quote(text), text.encode().hex()):
        assert any(form in sent for form in forms(value))

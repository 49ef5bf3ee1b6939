"""
What the gate holds goes to a person: approved, rejected, unanswered, marked by hand; by Airflow's own code for answers
and time-outs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from include.errors import EvidenceError
from include.lake.ledger import latest_decision
from include.registry.evidence import read_evidence, reasons_of, require_evidence
from include.registry.lookup import version_of_alias
from include.registry.promotion import promote
from tests.plugins.conftest import parse_dag
from tests.registry.fixtures import house, template
from tests.registry.house import House, declare, with_gate

__all__ = ["house", "template"]

pytestmark = [
    pytest.mark.claim("approval"),
    pytest.mark.airflow,
    pytest.mark.timeout(900),
    # Airflow's own, where dag.test() runs a Dag for a second time.
    pytest.mark.filterwarnings("ignore:Multiple rows returned with uselist:sqlalchemy.exc.SAWarning"),
]

DAG_FILE = """\
# an Airflow Dag file
from datetime import timedelta
from pathlib import Path
from tests.plugins.test_approval import build
dag = build(Path({home!r}), training={training!r}, version={version!r}, minutes={minutes!r}, minimum={minimum!r})
"""


def build(home: Path, *, training: dict[str, Any], version: str, minutes: float, minimum: dict[str, float]) -> Any:
    """The last steps of a training of parcels, in a Dag of their own."""
    from airflow.sdk import DAG

    from updraft.dags import judge_and_register

    workflow = with_gate(declare(home), approval=timedelta(minutes=minutes), minimum=minimum)
    with DAG("parcels.ship", schedule=None) as dag:
        judge_and_register(
            workflow, evaluated={"card_uri": "file:///cards/2/card.md"}, training=training, version=version
        )
    return dag


@pytest.fixture
def held(house: House, monkeypatch: pytest.MonkeyPatch, airflow_db: None) -> House:
    """A champion, and a version of a week later that can't be told from it."""
    monkeypatch.setenv("UPDRAFT_HOME", str(house.settings.home))
    champion = house.register("monday3")
    house.judge(champion)
    promote(house.workflow, champion, lake=house.lake, registry=house.registry, target="local", decided_by="test")
    assert house.register("monday4") == "2"
    return house


def run(house: House, *, minutes: float = 60, minimum: dict[str, float] | None = None, **how: Any) -> dict[str, str]:
    """Run the Dag to its end; states by task."""
    folder = house.settings.home / "dags"
    folder.mkdir(exist_ok=True)
    training = {"snapshot": asdict(house.snapshots["monday4"]), "training_id": "monday4"}
    training["snapshot"]["missing_partitions"] = list(training["snapshot"]["missing_partitions"])
    text = DAG_FILE.format(
        home=str(house.settings.home),
        training=training,
        version="2",
        minutes=minutes,
        minimum=minimum or {"roc_auc": 0.6},
    )
    (folder / "ship.py").write_text(text)
    dag_run = parse_dag("parcels.ship", folder).test(logical_date=None, **how)
    return {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}


@contextmanager
def beside(work: Callable[[Any, Any], bool]) -> Iterator[list[Any]]:
    """
    Look at the question again and again in a thread, until `work(question, session)` is done; the questions that it
    saw.
    """
    from airflow.models.hitl import HITLDetail
    from airflow.utils.session import create_session
    from sqlalchemy import select

    seen: list[Any] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            with create_session() as session:
                for question in session.scalars(select(HITLDetail).where(HITLDetail.responded_at.is_(None))).unique():
                    if str(question.task_instance.state) == "awaiting_input":
                        seen.append((question.subject, question.body))
                        if work(question, session):
                            return
            time.sleep(0.2)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(30)


def answer(option: str) -> Callable[[Any, Any], bool]:
    """Answer as the API does for Jane."""

    def work(question: Any, session: Any) -> bool:
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
        from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail

        ti = question.task_instance
        payload = UpdateHITLDetailPayload(chosen_options=[option], params_input={})
        user = SimpleAuthManagerUser(username="jane", role="admin")
        update_hitl_detail(ti.dag_id, ti.run_id, ti.task_id, payload, user, session)
        return True

    return work


def let_time_pass(question: Any, session: Any) -> bool:
    """The scheduler's own round for questions that nobody answered in time."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    SchedulerJobRunner(Job()).check_awaiting_input_timeouts(session=session)
    session.refresh(question)
    return question.responded_at is not None


def require_nothing_shipped(house: House) -> None:
    assert latest_decision(house.lake, "parcels", "2").verdict == "HOLD"
    assert version_of_alias(house.registry, "parcels", "challenger") is None
    with pytest.raises(EvidenceError, match="judged HOLD"):
        promote(house.workflow, "2", lake=house.lake, registry=house.registry, target="local", decided_by="test")


def test_an_approval_ships_and_stands_in_the_ledger(held: House) -> None:
    with beside(answer("Approve")) as questions:
        assert run(held) == {"gate": "success", "approve": "success", "register": "success"}
    ((subject, body),) = questions
    assert subject == "Ship version 2 of parcels although the gate holds it?"
    assert "neither proven better nor worse than the champion" in body
    assert "| champion | **held** | " in body
    assert "`file:///cards/2/card.md`" in body

    decision = latest_decision(held.lake, "parcels", "2")
    assert (decision.verdict, decision.decided_by.split(" in ")[0]) == ("PROMOTE", "jane (jane)")
    assert reasons_of(decision)[0].startswith("approved by jane (jane) on 2")
    approval = read_evidence(held.lake, decision)["approval"]
    assert (approval["user_id"], approval["overruled"]) == ("jane", ["champion", "metric average_precision"])
    assert version_of_alias(held.registry, "parcels", "challenger") == "2"
    assert require_evidence(held.workflow, "2", lake=held.lake, registry=held.registry) == decision
    assert (
        promote(
            held.workflow, "2", lake=held.lake, registry=held.registry, target="local", decided_by="test"
        ).model_version
        == "2"
    )


def test_a_rejection_ships_nothing(held: House) -> None:
    with beside(answer("Reject")):
        assert run(held) == {"gate": "success", "approve": "success", "register": "skipped"}
    require_nothing_shipped(held)


def test_no_answer_in_time_means_no(held: House) -> None:
    with beside(let_time_pass):
        assert run(held, minutes=0.0001) == {"gate": "success", "approve": "success", "register": "skipped"}
    require_nothing_shipped(held)


def test_marking_the_question_as_succeeded_ships_nothing(held: House) -> None:
    assert run(held, mark_success_pattern="approve") == {"gate": "success", "approve": "success", "register": "failed"}
    require_nothing_shipped(held)


def test_nobody_is_asked_about_a_promotion_or_a_refusal(held: House) -> None:
    assert run(held, minimum={"roc_auc": 0.99}) == {"gate": "skipped", "approve": "skipped", "register": "skipped"}
    assert latest_decision(held.lake, "parcels", "2").verdict == "REJECT"
    assert run(held, minimum={"roc_auc": 0.99}, mark_success_pattern="gate|approve")["register"] == "failed"

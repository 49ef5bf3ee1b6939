"""The survey that the tests of erasure declare, and the answers of one respondent among fifty."""

from __future__ import annotations

from pathlib import Path

from include.sources.survey.pseudonyms import pseudonym_of
from include.workflow import SurveySource, Workflow
from tests.sources.survey.people import SECRET, answer, declare, inner, policy

EMAIL = "Cassiopeia.Canary@canary-mail.example"


def pseudonym(email: str = EMAIL) -> str:
    made = pseudonym_of(email, workflow="panel", column="respondent", key=SECRET.encode())
    assert made is not None
    return made


def answers(*, satisfaction: int = 3) -> list[dict[str, object]]:
    """Fifty answers; the canary's are a good one, the same once more (a duplicate), and one that breaks a rule."""
    good = answer(5, email=EMAIL, satisfaction=satisfaction)
    mine = [good, {**good, "received_at": f"{good['received_at'][:-2]}59"}, answer(7, email=EMAIL, satisfaction=9)]
    return [*(answer(i) for i in range(50) if i not in (5, 6, 7)), *mine]


def declare_panel(folder: Path) -> Workflow:
    source = SurveySource(source=inner(key=("email", "answer_id")), privacy=policy())
    return declare(folder / "panel", source=source)

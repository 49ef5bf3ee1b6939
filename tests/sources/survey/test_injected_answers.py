"""
10,000 answers that the policy or the suite refuses: each is counted, for its reason, and nothing of those without
consent is kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from include.lake.fencing import new_token
from include.lake.partitions import read_partition
from include.quality.replay import replay_partition
from include.rehearsal import ingest
from include.workflow import Quality, SurveySource
from tests.injected import Expected, assert_accounted
from tests.sources.survey.people import DAY, KEY, SUITE, answer, csv_of, declare, files_of_answers, leaks, policy

pytestmark = pytest.mark.claim("accounts")

MISSING = ("answer_id: key is missing", "respondent: key is missing")
NO_TIMES = ("answered_at: event time is missing", "received_at: known time is missing")
TOO_FEW = "source: privacy: fewer than 5 respondents share its quasi-identifiers"
OUTLIER = {"age": 96, "postcode": "99999", "born": "1930-01-01"}
STRAY = "source: column 'answered_at' lies outside the partition that the file is named for"
SATISFACTION, PROMOTER = (
    "satisfaction: expect_column_values_to_be_between",
    "is_promoter: expect_column_values_to_be_in_set",
)
N_BAD, N_GOOD, N_TWICE = 10_000, 400, 30
# What each kind changes in a good answer, or the line that it is; and its reasons.
KINDS: list[tuple[dict[str, Any] | str, tuple[str, ...]]] = [
    ({"consent": "no"}, ("source: privacy: no consent", *MISSING)),
    ({"consent": None}, ("source: privacy: no consent", *MISSING)),
    ({"email": None}, ("source: privacy: email: is missing or too short to tell a respondent", *MISSING)),
    ({"email": " x "}, ("source: privacy: email: is missing or too short to tell a respondent", *MISSING)),
    ({"born": "the third of May"}, ("source: privacy: born: is no value that the policy can generalise", *MISSING)),
    ({"satisfaction": 9}, (SATISFACTION,)),
    ({"is_promoter": 7}, (PROMOTER,)),
    ({"satisfaction": 0, "is_promoter": 2}, (SATISFACTION, PROMOTER)),
    ("Aurelia Abernathy,aurelia@canary-mail.example", ("source: line has 2 fields, the header has 13", *MISSING)),
    ({"age": "forty"}, ("source: column 'age' holds no integer", *MISSING)),
    ({"answered_at": f"{DAY + timedelta(days=1):%Y-%m-%d %H:%M:%S}"}, (STRAY, *MISSING)),
]


def bad(number: int) -> tuple[str, tuple[str, ...]]:
    """One bad answer as CSV, and its reasons."""
    kind, reasons = KINDS[number % len(KINDS)]
    line = kind if isinstance(kind, str) else csv_of([answer(20_000 + number, **kind)]).splitlines()[1]
    is_no_row = "line has" in reasons[0] or "'age'" in reasons[0]
    return line, (*reasons, *NO_TIMES) if is_no_row else reasons


def inject(vault: Path) -> Expected:
    """
    Good answers, some of them twice, bad ones, and three cells of four people each: too few to hide
    among each other.
    """
    good = [answer(i) for i in range(N_GOOD)]
    lines = csv_of([*good, *good[:N_TWICE]]).splitlines()
    reasons: dict[int, tuple[str, ...]] = {}
    for number in range(N_BAD - 4):
        line, whole = bad(number)
        reasons[len(lines) - 1] = whole
        lines.append(line)
    for number in range(4):
        reasons[len(lines) - 1] = (TOO_FEW, *MISSING)
        lines += csv_of([answer(50_000 + number, **OUTLIER)]).splitlines()[1:]
    (vault / f"{KEY}.csv").write_text("\n".join([*lines, ""]))
    return Expected(n_in=N_GOOD + N_TWICE + N_BAD, n_published=N_GOOD, n_duplicate=N_TWICE, reasons_by_row=reasons)


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    (tmp_path / "vault").mkdir()
    return tmp_path / "vault"


def test_each_refused_answer_is_accounted_for(tmp_path, vault, lake, home):
    source = SurveySource(source=files_of_answers(vault, key=("email", "answer_id")), privacy=policy())
    workflow = declare(tmp_path / "panel", source=source, suite=SUITE).model_copy(
        update={"quality": Quality(max_quarantined=None)}
    )
    expected = inject(vault)
    assert (expected.n_quarantined, expected.n_kinds) == (10_000, 10)
    ingest(workflow, KEY, connection_uri=None, lake=lake)
    assert_accounted(lake, "panel", expected, marker_column="source_position")

    kept = read_partition(lake, "panel/quarantine", KEY).to_pylist()
    silent = [row for row in kept if any(reason.startswith("source: ") for reason in row["reasons"])]
    values = ("respondent", "age", "postcode", "born", "satisfaction", "is_promoter", "answer_id")
    assert {row[name] for row in silent for name in values} == {None}
    letters = Counter(letter["reason"] for letter in read_partition(lake, "panel/dead_letters", KEY).to_pylist())
    n_lines = sum("line has" in reasons[0] for reasons in expected.reasons_by_row.values())
    n_ages = sum("'age'" in reasons[0] for reasons in expected.reasons_by_row.values())
    assert letters == {"line has 2 fields, the header has 13": n_lines, "column 'age' holds no integer": n_ages}
    assert leaks([home], ["aurelia@canary-mail.example", "the third of May"]) == []

    # A scale from 0 to 10 heals the answers that broke no other rule; what the policy refused stays refused.
    scale = {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "satisfaction", "min_value": 0, "max_value": 10},
    }
    mended = {**SUITE, "expectations": [scale, SUITE["expectations"][1]]}
    workflow = declare(tmp_path / "panel", source=source, suite=mended).model_copy(update={"quality": workflow.quality})
    before = dict(expected.reasons_by_row)
    left = {
        position: kept
        for position, reasons in before.items()
        if (kept := tuple(r for r in reasons if r != SATISFACTION))
    }
    healed = replace(expected, n_published=expected.n_published + len(before) - len(left), reasons_by_row=left)
    for number, is_changed in ((1, True), (2, False)):
        report = replay_partition(
            workflow, KEY, lake=lake, token=new_token(), run_id=f"replay {number}", try_id=str(number)
        )
        assert report.is_changed is is_changed
        assert_accounted(lake, "panel", healed, marker_column="source_position")
    assert len(before) - len(left) > 900

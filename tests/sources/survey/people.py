"""Made-up respondents in a real SQLite file, and where their names might leak to."""

from __future__ import annotations

import base64
import random
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import numpy as np
import pyarrow.parquet as pq

from include.workflow import (
    Band,
    Consent,
    DatabaseSource,
    FileSource,
    Partition,
    Privacy,
    SurveySource,
    Target,
    Truncate,
    Workflow,
    Year,
)
from tests.factories import declare_workflow

# Retention counts from today, so the day of the tests moves with it.
DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=10)
KEY = f"{DAY:%Y-%m-%d}"
SECRET = "a key of the tests that is longer than thirty-two bytes"
COLUMNS = (
    "answer_id INTEGER, email TEXT, name TEXT, phone TEXT, age INTEGER, postcode TEXT, born TEXT, satisfaction "
    "INTEGER, is_promoter INTEGER, comment TEXT, consent TEXT, answered_at TEXT, received_at TEXT"
)
NAMES = [column.split()[0] for column in COLUMNS.split(", ")]
QUERY = f"""
SELECT {", ".join(NAMES)} FROM answers
WHERE answered_at >= :partition_start AND answered_at < :partition_end ORDER BY answer_id
"""
SUITE: dict[str, Any] = {
    "name": "survey",
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "satisfaction", "min_value": 1, "max_value": 5},
        },
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "is_promoter", "value_set": [0, 1]}},
    ],
    "meta": {},
}
FIRST = [
    "Aurelia",
    "Bartholomew",
    "Cassiopeia",
    "Desdemona",
    "Evangeline",
    "Ferdinand",
    "Guinevere",
    "Hermione",
    "Ignatius",
    "Jocasta",
]
LAST = ["Abernathy", "Brandybuck", "Cholmondeley", "Drinkwater", "Featherstone"]
IDENTIFYING = ("email", "name", "phone", "comment")


def canaries(n_people: int = 50) -> list[dict[str, Any]]:
    """People whose every personal value occurs nowhere else in the world."""
    rng = random.Random(7)
    people = []
    for i in range(n_people):
        first, last = FIRST[i % len(FIRST)], LAST[i // len(FIRST) % len(LAST)]
        phone = f"+44 7700 9{rng.randrange(10**5):05d}{i:02d}"
        email = f"{first}.{last}{i:03d}+survey@canary-mail.example"
        people.append(
            answer(
                i,
                email=email,
                name=f"{first} Q. {last}",
                phone=phone,
                comment=f"Ring {first} {last} on {phone}, ruddy parrot {i:03d}!",
            )
        )
    return people


def answer(number: int, **changes: Any) -> dict[str, Any]:
    """One valid answer; without changes, ten share each cell."""
    seconds = number * 7 % 86_400
    values = {
        "answer_id": number,
        "email": f"respondent{number}@plain.example",
        "name": f"Respondent {number}",
        "phone": f"+49 30 {number:07d}",
        "age": 20 + 10 * (number // 10 % 4) + number % 10,
        "postcode": f"1{number // 10 % 4}{number % 1000:03d}",
        "born": f"{1990 - number // 10 % 4}-0{1 + number % 9}-1{number % 9}",
        "satisfaction": 1 + number % 5,
        "is_promoter": int(number % 5 > 2),
        "comment": "fine",
        "consent": "yes",
        "answered_at": f"{DAY + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}",
        "received_at": f"{DAY + timedelta(seconds=seconds + 60):%Y-%m-%d %H:%M:%S}",
    }
    return {**values, **changes}


def write_answers(path: Path, answers: Iterable[dict[str, Any]], *, columns: str = COLUMNS) -> str:
    """Write a SQLite file anew; return its URI."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE answers ({columns})")
    names = [column.split()[0] for column in columns.split(", ")]
    rows = [tuple(row[name] for name in names) for row in answers]
    connection.executemany(f"INSERT INTO answers VALUES ({', '.join('?' * len(names))})", rows)
    connection.commit()
    connection.close()
    return f"sqlite:///{path}"


def inner(**changes: Any) -> DatabaseSource:
    parts = {
        "conn_id": "survey_db",
        "query": "extract.sql",
        "event_time": "answered_at",
        "known_time": "received_at",
        "key": ("email",),
    }
    return DatabaseSource(**{**parts, **changes})


def files_of_answers(folder: Path, **changes: Any) -> FileSource:
    """The same answers as CSV, a file a partition."""
    columns = dict.fromkeys(NAMES, "text") | {
        "answer_id": "integer",
        "age": "integer",
        "satisfaction": "integer",
        "is_promoter": "integer",
    }
    times = {"answered_at": "timestamp", "received_at": "timestamp"}
    parts = {"path": f"{folder}/{{partition_key}}*.csv", "format": "csv", "columns": columns | times, "key": ("email",)}
    return FileSource(
        **{
            **parts,
            "event_time": "answered_at",
            "known_time": "received_at",
            "settled": timedelta(microseconds=1),
            **changes,
        }
    )


def csv_of(answers: Iterable[dict[str, Any]], *, broken: Iterable[str] = ()) -> str:
    """Answers as CSV, and lines that are none."""
    lines = [",".join(NAMES)]
    lines += [",".join(f'"{row[name]}"' if row[name] is not None else "" for name in NAMES) for row in answers]
    return "\n".join([*lines, *broken, ""])


def policy(**changes: Any) -> Privacy:
    parts: dict[str, Any] = {
        "identifiers": ("email", "name", "phone"),
        "pseudonym": {"respondent": "email"},
        "quasi_identifiers": {"age": Band(width=10), "postcode": Truncate(length=2), "born": Year()},
        "sensitive": ("satisfaction",),
        "keep": ("answer_id", "is_promoter"),
        "free_text": {"comment": "drop"},
        "consent": Consent(column="consent"),
        "retention": "365 days",
    }
    return Privacy(**{**parts, **changes})


def declare(
    folder: Path, *, source: Any = None, query: str = QUERY, suite: dict[str, Any] | None = None, **changes: Any
) -> Workflow:
    """Declare the workflow "panel", a survey unless another source is given."""
    workflow = declare_workflow(
        folder,
        suite=suite or SUITE,
        name="panel",
        source=source or SurveySource(source=inner(), privacy=policy(**changes)),
        target=Target(column="is_promoter", positive=1),
        partition=Partition(every="day", start=DAY.date() - timedelta(days=2000)),
    )
    (folder / "extract.sql").write_text(query, encoding="utf-8")
    return workflow


def forms(values: Iterable[str]) -> dict[bytes, str]:
    """Every form in which a value might show up in a file, in lower case, and the value."""
    found = {}
    for value in values:
        for text in {value, quote(value), quote_plus(value), value.encode().hex()}:
            found[text.lower().encode()] = value
        # Base64 depends on where in the text the value begins: the part that is the same wherever it stands.
        for shift in range(3):
            found[base64.b64encode(b"\0" * shift + value.encode())[4 if shift else 0 : -4].lower()] = value
    return found


def contents(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder: its name, its bytes, and, of Parquet, its decoded values."""
    for path in sorted(file for file in root.rglob("*") if file.is_file()):
        data = path.read_bytes()
        yield str(path), str(path).encode() + b"\n" + data
        if path.suffix == ".parquet":
            yield f"{path} (values)", repr(pq.ParquetFile(path).read().to_pydict()).encode()


def leaks(roots: Iterable[Path], values: Iterable[str], *, texts: Iterable[str] = ()) -> list[str]:
    """Where any of some values is found, in any form."""
    wanted = forms(values)
    places = [place for root in roots for place in contents(root)] + [
        (f"text {i}", text.encode()) for i, text in enumerate(texts)
    ]
    lowered = [(name, data.lower()) for name, data in places]
    suspects = [(name, data) for name, data in lowered if _may_hold(data, wanted)]
    return [f"{name}: {value}" for name, data in suspects for form, value in wanted.items() if form in data]


def _may_hold(data: bytes, forms: Iterable[bytes]) -> bool:
    """
    Whether the first eight bytes of a form are there: one pass, where a look for each of a thousand forms takes seconds
    a megabyte.
    """
    heads = [form[:8] for form in forms]
    if any(len(head) < 8 for head in heads):
        return True
    words = np.frombuffer(b"".join(heads), np.uint64)
    views = (np.frombuffer(data, np.uint64, offset=at, count=(len(data) - at) // 8) for at in range(min(8, len(data))))
    return any(bool(np.isin(view, words).any()) for view in views)

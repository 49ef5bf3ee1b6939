"""From a request's values to the values that training saw."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from include.errors import RequestError
from include.modeling.schema import InputColumn, coerce_row, hidden_columns
from tests.sources.survey.people import declare

NUMBER = InputColumn(name="x", type="number")
WHOLE = InputColumn(name="x", type="number", is_integer=True)
TEXT = InputColumn(name="x", type="text")
BOOLEAN = InputColumn(name="x", type="boolean")
TIMESTAMP = InputColumn(name="x", type="timestamp")
SEVEN = datetime(2026, 11, 23, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        (NUMBER, 5, 5.0),
        (NUMBER, " 2.5 ", 2.5),
        (NUMBER, "", None),
        (NUMBER, None, None),
        (WHOLE, 5.0, 5),
        (WHOLE, 5.5, 5.5),
        (WHOLE, "12345678901234567", 12345678901234567),
        (WHOLE, 2**53 + 1, 2**53 + 1),
        (TEXT, "", ""),
        (TEXT, "07", "07"),
        (BOOLEAN, True, True),
        (BOOLEAN, 0, False),
        (BOOLEAN, " True ", True),
        (BOOLEAN, " ", None),
        (TIMESTAMP, "2026-11-23T07:00:00", SEVEN),
        (TIMESTAMP, "2026-11-23T08:00:00+01:00", SEVEN),
        (TIMESTAMP, datetime(2026, 11, 23, 8, tzinfo=timezone(timedelta(hours=1))), SEVEN),
        (TIMESTAMP, "", None),
    ],
)
def test_values_take_their_columns_type(column: InputColumn, value: Any, expected: Any) -> None:
    found = coerce_row([column], {"x": value, "unknown": 1})
    assert found == {"x": expected}
    assert type(found["x"]) is type(expected)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (NUMBER, "ten", "column 'x' is a number, but holds 'ten': send a number"),
        (NUMBER, True, "column 'x' is a number, but holds True: send a number"),
        (NUMBER, [1], "column 'x' is a number, but holds a list: send a number"),
        (
            NUMBER,
            float("nan"),
            "column 'x' is a number, but holds nan: send a finite number, or null where it is unknown",
        ),
        (NUMBER, "inf", "send a finite number"),
        (NUMBER, 10**400, "send a number"),
        (TEXT, 5, "column 'x' is a text, but holds 5: send text in quotes"),
        (BOOLEAN, "yes", "column 'x' is a boolean, but holds 'yes': send true or false"),
        (BOOLEAN, {}, "column 'x' is a boolean, but holds a dict: send true or false"),
        (TIMESTAMP, "23/11/2026", "column 'x' is a timestamp, but holds '23/11/2026': send an ISO 8601 time such as"),
        (TIMESTAMP, 1.5, "send an ISO 8601 time"),
        (TIMESTAMP, "9999-12-31T23:59:59-23:00", "send a time between the years 2 and 9998"),
        (TEXT, 10**100, f"holds 1{'0' * 58}…:"),
    ],
)
def test_values_that_do_not_fit_are_refused(column: InputColumn, value: Any, message: str) -> None:
    with pytest.raises(RequestError) as raised:
        coerce_row([column], {"x": value})
    assert message in str(raised.value)
    assert raised.value.status == 422


def test_a_record_must_be_an_object_with_known_columns() -> None:
    with pytest.raises(RequestError, match="a record is a list, not an object") as raised:
        coerce_row([NUMBER], [1])  # type: ignore[arg-type]
    assert raised.value.status == 400
    with pytest.raises(RequestError, match="the record has none of the model's columns: send some of x"):
        coerce_row([NUMBER], {"y": 1})


def test_a_pseudonym_is_no_feature(tmp_path) -> None:
    """A model would learn persons by heart, and its golden rows would hold their pseudonyms."""
    assert hidden_columns(declare(tmp_path / "panel")) >= {"respondent", "is_promoter", "row_id"}

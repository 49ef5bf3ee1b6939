"""What a feature function may read and give, and how wrong ones are told."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from include.errors import DataError, DeclarationError
from include.modeling.features import FeatureBuilder, builder_of_workflow
from include.modeling.frame import MISSING, FeatureColumn, feature_columns_of, feature_frame
from include.modeling.schema import InputColumn
from include.workflow import DatabaseSource, Features
from tests.factories import declare_workflow, parcel_rows
from tests.modeling.published import validated

COLUMNS = (InputColumn(name="km", type="number"), InputColumn(name="depot", type="text"))


def builder_of(text: str) -> FeatureBuilder:
    return FeatureBuilder(
        columns=COLUMNS, hidden=frozenset({"is_late"}), source=text.encode(), function="features.build"
    )


def features_of(expression: str) -> dict[str, float | str | None]:
    text = (
        "from datetime import *\nfrom decimal import Decimal\nimport numpy as np\ndef build(row):\n    return "
        f"{expression}\n"
    )
    return builder_of(text).build([{"km": 3.5, "depot": "north"}])[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{'a': 2, 'b': 2.5, 'c': 'x', 'd': None}", {"a": 2.0, "b": 2.5, "c": "x", "d": None}),
        ("{'a': True, 'b': False}", {"a": 1.0, "b": 0.0}),
        (
            "{'a': float('nan'), 'b': float('inf'), 'c': -1e300, 'd': 10**400}",
            {"a": None, "b": None, "c": -1e30, "d": 1e30},
        ),
        ("{'t': datetime(2026, 1, 7, 13, 5)}", {"t_hour": 13.0, "t_weekday": 2.0, "t_month": 1.0}),
        ("{'t': date(2026, 1, 11)}", {"t_weekday": 6.0, "t_month": 1.0}),
        (
            "{'a': Decimal('1.5'), 'b': np.float32(0.5), 'c': np.int64(3), 'd': np.str_('y')}",
            {"a": 1.5, "b": 0.5, "c": 3.0, "d": "y"},
        ),
        ("{'a': np.bool_(True), 'b': Decimal('NaN'), 'c': np.float64('inf')}", {"a": 1.0, "b": None, "c": None}),
        (
            "{'km': row['km'], 'has': 'depot' in row, 'n': len(row), 'z': row.get('z', 7)}",
            {"km": 3.5, "has": 1.0, "n": 2.0, "z": 7.0},
        ),
    ],
)
def test_values_become_features(expression: str, expected: dict[str, object]) -> None:
    assert features_of(expression) == expected


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("return {'a': row['is_late']}", DataError, "reads column 'is_late', which is hidden from features"),
        ("return {'a': row.get('is_late')}", DataError, "reads column 'is_late', which is hidden from features"),
        ("return {'a': 'is_late' in row}", DataError, "reads column 'is_late', which is hidden from features"),
        (
            "return {'a': row['distance']}",
            DataError,
            "features.build reads column 'distance', which the rows do not have: correct it",
        ),
        ("return [row['km']]", DataError, "features.build gives a list: return a dict of feature names and values"),
        (
            "return {'a': [1]}",
            DataError,
            "features.build gives feature 'a' as a list: give a number, text, a bool, a datetime or None",
        ),
        ("return {7: 1}", DataError, "features.build gives a feature whose name is no text: name features by str"),
        (
            "return {'a': int(row['depot'])}",
            DataError,
            "features.build fails on a row with ValueError at line 2 of features.py",
        ),
    ],
)
def test_wrong_functions_are_told_without_the_rows_values(body: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        builder_of(f"def build(row):\n    {body}\n").build([{"km": 3.5, "depot": "secret"}])
    assert message in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def build(row)\n    return {}\n", "features.py does not run: SyntaxError at line 1"),
        (
            "import no_such_module\n",
            "features.py does not run: ModuleNotFoundError at line 1: No module named 'no_such_module'",
        ),
        (
            "def make(row):\n    return {}\n",
            "features.builder='features.build': features.py has no function 'build': define it there",
        ),
        ("build = 3\n", "features.py has no function 'build'"),
    ],
)
def test_wrong_modules_are_told(text: str, message: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        builder_of(text)
    assert message in str(raised.value)


def test_a_function_that_exits_the_process_is_not_swallowed() -> None:
    with pytest.raises(SystemExit):
        builder_of("raise SystemExit(1)\n")


def test_a_module_may_hold_dataclasses_of_its_own() -> None:
    """They look their module up in sys.modules, where a module that was only executed is not."""
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: float\ndef build(row):\n    return {'x': A(1).x}\n"
    )
    assert builder_of(text).build([{}]) == [{"x": 1.0}]


def test_a_function_may_not_reach_another_row() -> None:
    builder = builder_of("def build(row):\n    row['km'] = 0\n    return {'km': row['km']}\n")
    rows = [{"km": 3.5, "depot": "north"}]
    builder.build(rows)
    assert rows == [{"km": 3.5, "depot": "north"}]


def test_a_feature_with_two_types_is_named() -> None:
    rows = builder_of("def build(row):\n    return {'a': 1 if row['km'] else 'none'}\n").build([{"km": 1}, {"km": 0}])
    with pytest.raises(DataError, match="feature 'a' is a number in some rows and text in others: give it one type"):
        feature_columns_of(rows)


def test_a_feature_that_changes_type_after_training_is_named() -> None:
    for kind, value in (("number", "x"), ("category", 1.0)):
        with pytest.raises(DataError, match=f"feature 'a' was trained as a {kind}, but is"):
            feature_frame([{"a": value}], [FeatureColumn(name="a", kind=kind)])


def test_features_without_a_value_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert feature_columns_of([{"a": 1.0, "b": None}, {"c": "x"}]) == (
        FeatureColumn(name="a", kind="number"),
        FeatureColumn(name="c", kind="category"),
    )
    assert "feature 'b' is missing in every training row" in caplog.text
    with pytest.raises(DataError, match="there is no feature with a value"):
        feature_columns_of([{"a": None}])


def test_the_frame_holds_numbers_and_categories() -> None:
    columns = [FeatureColumn(name="a", kind="number"), FeatureColumn(name="c", kind="category")]
    frame = feature_frame([{"a": 1.0, "c": "x", "other": 3.0}, {}], columns)
    assert frame["a"].dtype == np.float64
    assert frame["c"].tolist() == ["x", MISSING]
    assert np.isnan(frame["a"][1])


def test_without_a_function_the_columns_are_the_features(tmp_path: Path) -> None:
    """Less the target, the excluded ones, those that Updraft adds, and the time at which the row became known."""
    workflow = declare_workflow(tmp_path, features=Features(exclude=("parcel_id",)))
    rows = validated(parcel_rows(n_rows=3))
    built = builder_of_workflow(workflow, rows.schema).build_table(rows)
    assert list(built[0]) == ["sent_at_hour", "sent_at_weekday", "sent_at_month", "depot", "distance_km", "weight_kg"]


def test_a_known_time_that_is_the_event_time_stays(tmp_path: Path) -> None:
    source = DatabaseSource(conn_id="p", query="extract.sql", event_time="sent_at", known_time="sent_at")
    workflow = declare_workflow(tmp_path, features=Features(), source=source)
    assert (
        "sent_at_hour"
        in builder_of_workflow(workflow, parcel_rows(n_rows=1).schema).build_table(parcel_rows(n_rows=1))[0]
    )


def test_tables_and_rows_give_the_same_features(tmp_path: Path) -> None:
    """Whatever Arrow type a value has in the table."""
    moment = datetime(2026, 1, 7, 13, tzinfo=UTC)
    table = pa.table(
        {
            "d": pa.array([Decimal("1.50"), None], pa.decimal128(6, 2)),
            "day": pa.array([date(2026, 1, 7), None]),
            "naive": pa.array([moment.replace(tzinfo=None), None], pa.timestamp("ns")),
            "zoned": pa.array([moment, None], pa.timestamp("ns", tz="Europe/Rome")),
            "word": pa.array(["x", None]).dictionary_encode(),
            "list": pa.array([[1], None]),
        }
    )
    workflow = declare_workflow(tmp_path, features=Features())
    builder = builder_of_workflow(workflow, table.schema)
    assert [column.name for column in builder.columns] == ["d", "day", "naive", "zoned", "word"]
    rows = [{"d": 1.5, "day": moment.replace(hour=0), "naive": moment, "zoned": moment, "word": "x"}, {}]
    assert builder.build_table(table) == builder.build(rows)


def test_a_column_that_a_table_lacks_is_missing() -> None:
    builder = FeatureBuilder(columns=COLUMNS, hidden=frozenset(), source=None, function=None)
    assert builder.build_table(pa.table({"km": [1.5]})) == [{"km": 1.5, "depot": None}]


def test_a_table_of_many_rows_is_all_features(tmp_path: Path) -> None:
    table = pa.table({f"c{i}": np.random.default_rng(i).normal(size=10_000) for i in range(30)})
    features = builder_of_workflow(declare_workflow(tmp_path, features=Features()), table.schema).build_table(table)
    assert feature_frame(features, feature_columns_of(features)).shape == (10_000, 30)

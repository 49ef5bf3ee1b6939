"""From the bytes of a request to the rows of a model's input columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from include.errors import RequestError
from include.modeling.schema import coerce_row
from include.serving.limits import Limits

if TYPE_CHECKING:
    from include.modeling.schema import InputColumn

Row = dict[str, Any]
RECORD_KEYS = ("instances", "dataframe_records", "inputs")


def parse_json(body: bytes, limits: Limits) -> Any:
    """
    Read JSON strictly: UTF-8, no NaN or Infinity, nested no deeper than the bound.

    Raises
    ------
    RequestError
        400 if it is not JSON; 422 if it is too deep.

    """
    if not body:
        raise RequestError("the body is empty: send a JSON object with one value a column")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {_without_values(error)}") from None
    # Fewer brackets than the bound cannot nest deeper than it: small requests skip the walk.
    if body.count(b"[") + body.count(b"{") > limits.depth and _is_deeper(content, limits.depth):
        raise RequestError(f"the body is nested deeper than {limits.depth} levels: send flat records", status=422)
    return content


def json_records(body: bytes, limits: Limits) -> list[Mapping[str, Any]]:
    """Read the records of a JSON body: one record, a list of records, or a list under one of `RECORD_KEYS`."""
    content = parse_json(body, limits)
    if isinstance(content, dict):
        keys = [key for key in RECORD_KEYS if isinstance(content.get(key), list)]
        content = content[keys[0]] if len(keys) == 1 else [content]
    if not isinstance(content, list):
        raise RequestError(
            f"the body is a JSON {_kind(content)}: send an object, a list of objects, or {{'instances': [...]}}",
            status=422,
        )
    check_number_of_rows(len(content), limits)
    for i, record in enumerate(content):
        if not isinstance(record, dict):
            raise RequestError(
                f"row {i} is a {_kind(record)}: send an object that maps column names to values", status=422
            )
    return content


def csv_records(body: bytes, columns: Sequence[InputColumn], limits: Limits) -> list[Mapping[str, Any]]:
    """
    Read CSV with a header. Cells stay text, an empty one is None: `coerce_rows` turns them into what the model's
    columns are.

    Raises
    ------
    RequestError
        400 for what is not CSV with a header; the message names the line.

    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8 (byte {error.start}): encode it as UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[Mapping[str, Any]] = []
    try:
        header = next(reader, [])
        _check_header(header, columns)
        for cells in reader:
            if cells:
                check_number_of_rows(len(records) + 1, limits)
                records.append(_csv_record(header, cells, line=reader.line_num))
    except csv.Error as error:
        raise RequestError(f"the body is not CSV, line {reader.line_num}: {error}") from None
    check_number_of_rows(len(records), limits)
    return records


def coerce_rows(records: Sequence[Mapping[str, Any]], columns: Sequence[InputColumn]) -> list[Row]:
    """
    Turn records into rows of the model's input columns.

    Raises
    ------
    RequestError
        If a value does not fit its column, or a record names none of the columns; of several records, the message says
        which.

    """
    if len(records) == 1:
        return [coerce_row(columns, records[0])]
    rows = []
    for i, record in enumerate(records):
        try:
            rows.append(coerce_row(columns, record))
        except RequestError as error:
            raise RequestError(f"row {i}: {error}", status=error.status) from None
    return rows


def check_number_of_rows(n_rows: int, limits: Limits) -> None:
    """Refuse a request without rows (422) or with too many (413)."""
    if n_rows == 0:
        raise RequestError("the request holds no rows: send at least one", status=422)
    if n_rows > limits.rows:
        raise RequestError(f"the request holds more than {limits.rows:,} rows: split it", status=413)


def _check_header(header: list[str], columns: Sequence[InputColumn]) -> None:
    if not header:
        raise RequestError("the body is empty: send CSV with a header line")
    if len(set(header)) < len(header):
        raise RequestError("the CSV header names a column twice: name each column once")
    names = [column.name for column in columns]
    if not set(names) & set(header):
        raise RequestError(
            f"the first CSV line names none of the model's columns: start with a header of {', '.join(names[:12])}"
        )


def _csv_record(header: list[str], cells: list[str], *, line: int) -> dict[str, str | None]:
    if len(cells) != len(header):
        raise RequestError(
            f"CSV line {line} has {len(cells)} cells, the header {len(header)}: quote cells that hold commas"
        )
    return {name: cell if cell else None for name, cell in zip(header, cells, strict=True)}


def _is_deeper(content: Any, depth: int) -> bool:
    """Tell whether containers nest deeper than `depth`, level by level (no recursion to overflow)."""
    level = [content]
    for _ in range(depth + 1):
        level = [x for x in level if isinstance(x, (dict, list))]
        if not level:
            return False
        level = [child for x in level for child in (x.values() if isinstance(x, dict) else x)]
    return True


def _without_values(error: orjson.JSONDecodeError) -> str:
    return f"{error.msg} at line {error.lineno}, column {error.colno}"


def _kind(value: Any) -> str:
    names = {
        type(None): "null",
        bool: "boolean",
        int: "number",
        float: "number",
        str: "text",
        list: "list",
        dict: "object",
    }
    return names.get(type(value), type(value).__name__)

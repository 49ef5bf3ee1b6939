"""
Parquet, which says its own types: they have to be the declared ones, or hold nothing that those would lose.

A file's footer stands at its end, so a cut file is never taken for a whole one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.errors import SourceQueryError, UnreadableFileError
from include.lake.schemas import lake_schema
from include.sources.files.casting import says_no
from include.sources.files.chunks import Chunk, Location, errors_array
from include.sources.files.headers import header_of, place_columns
from include.sources.files.storage import FoundFile, explained, is_of_storage
from include.sources.stream import BATCH_ROWS
from include.sources.times import UTC_TIMESTAMP
from include.workflow import FileSource
from include.workflow.sources.files import MODIFIED_AT

_MOST_BATCH_BYTES = 512 * 2**20
_types = pa.types


def parquet_schema(files: Sequence[FoundFile], source: FileSource) -> pa.Schema:
    """
    Return the columns of files that declare their own: those of the first that can be read.

    Raises
    ------
    UnreadableFileError
        If none can be read.
    SourceQueryError
        If it lacks a column that the source names.

    """
    for number, file in enumerate(files):
        try:
            with explained(file.name), file.open_random() as raw:
                schema = lake_schema(_open(raw, file, source).schema_arrow)
        except UnreadableFileError:
            if number + 1 == len(files) or source.on_unreadable == "stop":
                raise
            continue
        for role, name in (
            ("event_time", source.event_time),
            ("known_time", source.known_time),
            *(("key", key) for key in source.key),
        ):
            if name not in schema.names and (role, name) != ("known_time", MODIFIED_AT):
                raise SourceQueryError(
                    f"{file.name}: has no column {name!r}, which source.{role} names: it has {', '.join(schema.names)}"
                )
        return schema
    raise AssertionError("a partition has at least one file")


def read_parquet(file: FoundFile, source: FileSource, *, schema: pa.Schema) -> Iterator[tuple[str, Chunk]]:
    """
    Read one file in batches, with its name.

    Raises
    ------
    UnreadableFileError
        If it is cut or damaged, or would fill the memory.
    SourceQueryError
        If its columns are not the expected ones.

    """
    with explained(file.name), file.open_random() as raw:
        opened = _open(raw, file, source)
        fields = [
            field
            for field in schema
            if field.name != MODIFIED_AT or field.name in (source.columns or opened.schema_arrow.names)
        ]
        names = [header_of(source, field.name) for field in fields]
        _check_columns(opened.schema_arrow, fields, source, file=file.name)
        present = [name for name in names if name in opened.schema_arrow.names]
        number = 0
        for batch in _batches(opened, present, file):
            yield file.name, _chunk(batch, fields, names, first=number + 1)
            number += batch.num_rows


def _open(raw: Any, file: FoundFile, source: FileSource) -> pq.ParquetFile:
    try:
        opened = pq.ParquetFile(
            raw, page_checksum_verification=True, thrift_string_size_limit=2**24, thrift_container_size_limit=2**22
        )
        schema = opened.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        if is_of_storage(error):
            raise
        raise UnreadableFileError(
            file.name, "it is no whole Parquet file: it was cut or damaged", byte_offset=file.size
        ) from None
    metadata = opened.metadata
    n_bytes = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if n_bytes > source.max_bytes:
        raise UnreadableFileError(file.name, f"it unpacks to more than {source.max_bytes} bytes (source.max_bytes)")
    if n_bytes > max(2**20, file.size * source.max_ratio):
        raise UnreadableFileError(
            file.name, f"it unpacks to more than {source.max_ratio:g} times its size (source.max_ratio)"
        )
    # Texts come as indices into a dictionary, so that their full size can be told before they are written out.
    texts = [field.name for field in schema if _types.is_string(field.type) or _types.is_large_string(field.type)]
    return pq.ParquetFile(raw, metadata=metadata, page_checksum_verification=True, read_dictionary=texts)


def _batches(opened: pq.ParquetFile, columns: list[str], file: FoundFile) -> Iterator[pa.RecordBatch]:
    try:
        for batch in opened.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
            plain = []
            for column in batch.columns:
                if _types.is_dictionary(column.type):
                    lengths = pc.binary_length(column.dictionary).take(column.indices)
                    if (pc.sum(lengths.cast(pa.int64())).as_py() or 0) > _MOST_BATCH_BYTES:
                        raise UnreadableFileError(
                            file.name, f"{batch.num_rows} rows of it are larger than {_MOST_BATCH_BYTES} bytes"
                        )
                    column = column.dictionary_decode()
                plain.append(column)
            yield pa.RecordBatch.from_arrays(plain, names=batch.schema.names)
    except (pa.ArrowException, OSError) as error:
        if is_of_storage(error):
            raise
        raise UnreadableFileError(file.name, "a page of it is damaged, or was cut") from None


def _check_columns(found: pa.Schema, fields: Sequence[pa.Field], source: FileSource, *, file: str) -> None:
    if source.columns:
        place_columns(found.names, source, file=file)
    elif lake_schema(found).names != [field.name for field in fields]:
        raise SourceQueryError(f"{file}: its columns are not those of the first file: declare source.columns")
    for field in fields:
        name = header_of(source, field.name)
        has = _plain_type(found.field(name).type) if name in found.names else field.type
        if not _fits(has, field.type, is_declared=bool(source.columns)):
            raise SourceQueryError(
                f"{file}: the column {name!r} is {has}, {field.type} is declared: declare its own type"
            )


def _plain_type(found: pa.DataType) -> pa.DataType:
    return found.value_type if _types.is_dictionary(found) else found


def _fits(found: pa.DataType, wanted: pa.DataType, *, is_declared: bool) -> bool:
    if _types.is_integer(wanted):
        return bool(_types.is_integer(found))
    if _types.is_floating(wanted):
        return bool(_types.is_floating(found) or _types.is_integer(found))
    if _types.is_decimal(wanted):
        return bool(_types.is_decimal(found) or _types.is_integer(found))
    if _types.is_string(wanted):
        return bool(_types.is_string(found) or _types.is_large_string(found))
    if _types.is_timestamp(wanted):
        return bool(_types.is_timestamp(found) or (is_declared and _types.is_date(found)))
    return bool(lake_schema(pa.schema([("x", found)])).field(0).type == wanted)


def _chunk(batch: pa.RecordBatch, fields: Sequence[pa.Field], names: Sequence[str], *, first: int) -> Chunk:
    errors: dict[int, str] = {}
    columns = []
    for field, name in zip(fields, names, strict=True):
        if name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, field.type))
            continue
        values, wrong = _exactly(batch.column(name), field.type)
        columns.append(values)
        for row in wrong.tolist():
            errors.setdefault(row, says_no(field.name, _plain_name(field.type)))
    wrong_rows = errors_array(batch.num_rows, errors)
    if errors:
        columns = [pc.if_else(wrong_rows.is_null(), column, pa.scalar(None, column.type)) for column in columns]
    rows = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
    return Chunk(rows=rows, errors=wrong_rows, locate=lambda row: Location(data=None, row_number=first + row))


def _exactly(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """Cast; also return the rows whose value would not survive."""
    if values.type == wanted:
        return values, np.array([], dtype=int)
    try:
        return values.cast(wanted), np.array([], dtype=int)
    except pa.ArrowInvalid:
        return _one_by_one(values, wanted)


def _one_by_one(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    cast, wrong = [], []
    for row in range(len(values)):
        try:
            cast.append(values.slice(row, 1).cast(wanted))
        except pa.ArrowInvalid:
            cast.append(pa.nulls(1, wanted))
            wrong.append(row)
    return pa.concat_arrays(cast), np.array(wrong, dtype=int)


def _plain_name(wanted: pa.DataType) -> str:
    if wanted == UTC_TIMESTAMP:
        return "timestamp"
    return {"int64": "integer", "double": "number", "string": "text", "bool": "boolean"}.get(str(wanted), str(wanted))

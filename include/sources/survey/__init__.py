"""
Read a survey: its rows leave here as the privacy policy lets them through, and in no other form.

The partition is held in memory, without direct identifiers, until all of its rows were counted: whether k respondents
share their quasi-identifiers is known only then, and nothing is to be written before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from include.errors import (
    ConcurrentWriteError,
    PrivacyError,
    SourceError,
    SourceQueryError,
    SourceUnavailableError,
    UnreadableFileError,
    UpdraftError,
)
from include.lake.erasures import erased_digests
from include.lake.store import Lake
from include.sources.files import open_rows as open_files
from include.sources.stream import BATCH_ROWS
from include.sources.survey.anonymity import enforce_k
from include.sources.survey.policy import Treatment, check_columns
from include.sources.survey.pseudonyms import pseudonym_key
from include.workflow import FileSource, Source, SurveySource, Workflow
from include.workflow.partitions import PartitionWindow


@contextlib.contextmanager
def open_rows(
    source: SurveySource, *, workflow: Workflow, window: PartitionWindow, connection_uri: str | None, lake: Lake
) -> Iterator[pa.RecordBatchReader]:
    """
    Open one partition of a survey.

    Yields
    ------
    RecordBatchReader
        Pseudonyms, generalised and kept columns, the times, and `source_error`: why the policy did not let a row
        through.

    Raises
    ------
    PrivacyError
        If the columns are not those of the policy.
    SettingsError
        If there is no key for the pseudonyms.
    SourceError
        If the inner source can't be read. What it said is withheld: drivers quote values.
    ConcurrentWriteError
        If a respondent was erased meanwhile.

    """
    erased = erased_digests(lake, workflow.name)
    treatment = Treatment(
        source, workflow=workflow.name, window=window, key=pseudonym_key(), erased=erased, now=datetime.now(UTC)
    )
    where = {"workflow": workflow, "window": window, "connection_uri": connection_uri, "lake": lake}
    rows, failure = _read(source, treatment, where)
    if failure is not None:
        # Raised here, outside of the handler: an error that was being handled would hang on to it, with the values in
        # its text.
        raise failure
    _require_unerased(lake, workflow.name, erased)
    yield pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(max_chunksize=BATCH_ROWS))
    # By now the rows are committed. The erasure may have looked through the lake just before that.
    _require_unerased(lake, workflow.name, erased)


def _require_unerased(lake: Lake, workflow_name: str, erased: frozenset[str]) -> None:
    if erased_digests(lake, workflow_name) != erased:
        raise ConcurrentWriteError(
            "a respondent was erased while the survey was read: run again, without their answers"
        )


def _read(source: SurveySource, treatment: Treatment, where: dict[str, Any]) -> tuple[pa.Table, UpdraftError | None]:
    """Read, treat and count all rows; the second item is the error to raise, if any."""
    try:
        with _open_inner(source.source, where) as reader:
            check_columns(source, reader.schema.names)
            empty = treatment.apply(pa.RecordBatch.from_pylist([], schema=reader.schema))
            rows = pa.concat_tables([empty, *(treatment.apply(batch) for batch in reader)])
        return (rows if source.cells is None else enforce_k(rows, source)), None
    except PrivacyError as error:
        return pa.table({}), error.with_traceback(None)
    except UnreadableFileError as error:
        # It tells of the file's form, never of what stands in it.
        return pa.table({}), UnreadableFileError(error.file, error.reason, byte_offset=error.byte_offset)
    except Exception as error:
        return pa.table({}), _withheld(source.source, error)


def _open_inner(source: Source, where: dict[str, Any]) -> contextlib.AbstractContextManager[pa.RecordBatchReader]:
    from include.sources.kinds import open_rows as open_any  # that module knows this one by name

    # Of a file's bad record neither its bytes may be kept nor their digest: they are what somebody wrote.
    return (
        open_any(source, **where)
        if not isinstance(source, FileSource)
        else open_files(source, **where, keep_bytes=False)
    )


def _withheld(source: Source, error: Exception) -> SourceError:
    path = source.path if isinstance(source, FileSource) else None
    names = ", ".join(filter(None, [path, *source.files.values(), source.connection]))
    kind = SourceUnavailableError if isinstance(error, UpdraftError) and error.is_retryable else SourceQueryError
    return kind(
        f"the survey's source ({source.kind}: {names}) can't be read: {type(error).__name__}; what it said is "
        "withheld, for it may quote answers: read the source by hand, with its own declaration, to see it"
    )

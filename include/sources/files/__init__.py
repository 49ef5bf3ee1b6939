"""
Files of one layout, in a folder or on an object store, read strictly.

For whoever builds on it (a survey, for instance), the inner function is

    read_files(source, *, window, connection_uri, keep_bytes=True, earliest=…, on_dead_letters=None) ->
    ContextManager[RecordBatchReader]

It streams the rows of one partition: the declared columns, `source_name`, `source_error`. A record that can't be read
is one row with an error and no value; its bytes are handed to `on_dead_letters`, which gets a reader of
`dead_letters.SCHEMA` before the rows end, and may hand it to `keep_dead_letters(reader, lake=…, workflow_name=…,
partition_key=…, token=…)`. With `keep_bytes=False` neither the bytes nor their digests are kept. No error's text holds
a value.

    listing       the partition's files, at rest
    storage       a folder or S3; whether a file is still the one that was found
    packing       gzip and zip, within bounds
    lines         bytes to lines, in any encoding
    csv_format, json_lines, excel, parquet     a format each: chunks of rows, errors and places
    casting       texts to typed values, exactly or not at all
    dead_letters  what could not be read
    reading       all of it together
"""

from include.sources.files.dead_letters import DeadLetters, keep_dead_letters
from include.sources.files.reading import open_rows, read_files

__all__ = ["DeadLetters", "keep_dead_letters", "open_rows", "read_files"]

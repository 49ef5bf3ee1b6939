"""
Rows of archived pages that were worked out before: a page is parsed once for a declaration and its parser, however
often it is read.

They lie in packs, `<name>/_rows/<declaration>/<digest>`, each an Arrow stream of many pages' rows: to make a file for
each page would take as long as to parse it. What a damaged pack held is worked out again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from include.errors import LakeError
from include.lake.crash_points import crash_point
from include.lake.digests import digest_bytes
from include.lake.files import delete_files, get_file, list_files, put_file
from include.sources.web.archive import Archive, Stored
from include.sources.web.rows import FORMAT, PageRows, rows_of_page
from include.workflow import Workflow
from include.workflow.sources.web import WebSource

PACK_PAGES, MAX_SMALL_PACKS = 1_000, 20
_DIGEST_LENGTH = 64


@dataclass(frozen=True)
class PageKey:
    """What a page's rows depend on, beside the declaration."""

    url: str
    body_digest: str | None
    encoding: str | None


class KeptRows:
    """The kept rows of one declaration; what is asked for beside them is worked out, and kept by `put`."""

    def __init__(self, workflow: Workflow, source: WebSource, archive: Archive) -> None:
        self._workflow, self._source, self._archive = workflow, source, archive
        self._folder = f"{workflow.name}/_rows/{_digest_of(workflow, source)}"
        self._kept: dict[PageKey, PageRows] = {}
        self._small_packs: dict[str, list[PageKey]] = {}
        self._new: dict[PageKey, PageRows] = {}
        self._asked: set[PageKey] = set()
        for path in list_files(archive.lake, self._folder):
            self._load(path)

    def of_page(self, stored: Stored) -> PageRows:
        """Rows of an archived page; raises what `rows_of_page` does."""
        key = PageKey(stored.url, stored.body_digest, stored.encoding)
        self._asked.add(key)
        rows = self._kept.get(key)
        if rows is None:
            rows = self._kept[key] = self._new[key] = rows_of_page(self._workflow, self._source, self._archive, stored)
            if len(self._new) == PACK_PAGES:
                self._put_new()
        return rows

    def put(self) -> None:
        """
        Keep what was worked out. Small packs, of crawls that found few pages changed, become one where they are too
        many.
        """
        self._put_new()
        if len(self._small_packs) > MAX_SMALL_PACKS:
            merged = {key: self._kept[key] for keys in self._small_packs.values() for key in keys if key in self._asked}
            old = set(self._small_packs)
            self._small_packs = {}
            delete_files(self._archive.lake, sorted(old - set(self._write(merged))))

    def _put_new(self) -> None:
        self._write(self._new)
        self._new = {}

    def _write(self, pages: Mapping[PageKey, PageRows]) -> list[str]:
        keys = list(pages)
        paths = []
        for start in range(0, len(keys), PACK_PAGES):
            some = keys[start : start + PACK_PAGES]
            data = _encoded({key: pages[key] for key in some})
            path = f"{self._folder}/{digest_bytes(data)}"
            crash_point("page_rows.before_put")
            put_file(self._archive.lake, path, data, is_flushed=False)
            crash_point("page_rows.after_put")
            self._note(path, some)
            paths.append(path)
        return paths

    def _load(self, path: str) -> None:
        try:
            pages = _decoded(get_file(self._archive.lake, path))
        except LakeError:  # another reader has merged it just now
            return
        if pages is None:
            delete_files(self._archive.lake, [path])
        else:
            self._kept |= pages
            self._note(path, list(pages))

    def _note(self, path: str, keys: list[PageKey]) -> None:
        if len(keys) < PACK_PAGES // 2:
            self._small_packs[path] = keys


def _digest_of(workflow: Workflow, source: WebSource) -> str:
    declared = source.model_dump(
        mode="json", include={"item", "fields", "parser", "types", "optional", "key", "event_time", "known_time"}
    )
    texts = [(workflow.folder / name).read_text(encoding="utf-8") for name in source.files.values()]
    return digest_bytes(json.dumps([FORMAT, declared, texts], sort_keys=True).encode())


def _encoded(pages: Mapping[PageKey, PageRows]) -> bytes:
    described = [
        [key.url, key.body_digest, key.encoding, rows.table.num_rows, dict(rows.found)] for key, rows in pages.items()
    ]
    table = pa.concat_tables([rows.table for rows in pages.values()]).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.with_metadata({"pages": json.dumps(described)})) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return digest_bytes(content).encode() + content


def _decoded(data: bytes) -> dict[PageKey, PageRows] | None:
    """Read a pack; None if it is not what was written."""
    digest, content = data[:_DIGEST_LENGTH], data[_DIGEST_LENGTH:]
    if digest_bytes(content).encode() != digest:
        return None
    table = pa.ipc.open_stream(content).read_all()
    described = json.loads(table.schema.metadata[b"pages"])
    table = table.replace_schema_metadata(None)
    pages, start = {}, 0
    for url, body_digest, encoding, n_rows, found in described:
        pages[PageKey(url, body_digest, encoding)] = PageRows(table=table.slice(start, n_rows), found=found)
        start += n_rows
    return pages

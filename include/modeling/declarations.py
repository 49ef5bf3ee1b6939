"""
Declarations as models were trained by them, kept in the lake by their digest: a version can be rebuilt after they have
changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from include.errors import CorruptDataError, DeclarationError, LakeError
from include.lake.files import get_file, put_file
from include.lake.store import Lake
from include.workflow import Source, Workflow
from include.workflow.workflow import digest_declaration


def keep_declaration(workflow: Workflow, *, lake: Lake) -> str:
    """
    Keep a workflow's declaration and the files that it names, once per digest.

    Returns
    -------
    str
        The digest, which a model's manifest names.

    """
    files = [[name, data.decode("utf-8", "surrogateescape")] for name, data in workflow.named_files]
    content = {"declaration": workflow.model_dump(mode="json"), "files": files}
    digest = workflow.digest()
    put_file(lake, _path(workflow.name, digest), json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
    return digest


def kept_declaration(lake: Lake, workflow_name: str, digest: str, *, folder: Path) -> Workflow | None:
    """
    Return a declaration as it was, with its files written into an empty folder; None if none of that digest was kept.

    Raises
    ------
    CorruptDataError
        If what is kept is not what the digest is of.
    DeclarationError
        If this software no longer takes it.

    """
    try:
        content = json.loads(get_file(lake, _path(workflow_name, digest)))
    except LakeError:
        return None
    files = [(str(name), str(text).encode("utf-8", "surrogateescape")) for name, text in content["files"]]
    if digest_declaration(content["declaration"], files) != digest:
        raise CorruptDataError(
            f"the declaration {digest[:12]}… of {workflow_name!r} in the lake was changed: restore "
            f"{_path('', digest)[1:]}"
        )
    for name, data in files:
        (folder / name).write_bytes(data)
    values: dict[str, Any] = content["declaration"]
    source = _SOURCES.get(values["source"].get("kind"))
    if source is None:
        raise DeclarationError(
            f"source.kind={values['source'].get('kind')!r} of an older declaration is unknown to this software"
        )
    return Workflow(**{**values, "source": source(**values["source"]), "folder": folder})


def _kinds(base: type[Source]) -> Iterator[type[Source]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


_SOURCES = {kind.model_fields["kind"].default: kind for kind in _kinds(Source)}


def _path(workflow_name: str, digest: str) -> str:
    return f"{workflow_name}/_declarations/{digest}.json"

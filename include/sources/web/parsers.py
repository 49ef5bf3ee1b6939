"""A workflow's own parser: a pure function in the workflow's folder, from a page's soup to its rows."""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from include.errors import DeclarationError, SourceQueryError
from include.sources.web.addresses import shown

Parse = Callable[[Any], Iterable[Mapping[str, Any]]]


def load_parser(folder: Path, parser: str) -> Parse:
    """
    Load `module.function` from a workflow's folder.

    Raises
    ------
    DeclarationError
        If the module does not run, or has no such function.

    """
    module_name, function_name = parser.split(".")
    path = folder / f"{module_name}.py"
    text = path.read_bytes()
    module = _load(f"updraft_parser_{hashlib.sha256(text).hexdigest()[:16]}", text, path)
    found = getattr(module, function_name, None)
    if not callable(found):
        raise DeclarationError(
            f"source.parser={parser!r}: {path.name} has no function {function_name!r}: define it there"
        )
    return found  # type: ignore[no-any-return]


def run_parser(parse: Parse, soup: Any, *, url: str, parser: str) -> list[dict[str, Any]]:
    """
    Run a parser over one page.

    Raises
    ------
    SourceQueryError
        If it fails, or gives anything but mappings.

    """
    try:
        rows = [dict(row) for row in parse(soup)]
    except Exception as error:
        # The error's own text may quote the page: only its kind and its line are told.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at line {frame.lineno} of {frame.filename.rsplit('/', 1)[-1]}"
        raise SourceQueryError(
            f"{shown(url)}: {parser} fails on this page with {where}: correct it in the workflow's folder"
        ) from None
    return rows


def _load(name: str, text: bytes, path: Path) -> ModuleType:
    module = sys.modules.get(name)
    if module is None:
        module = ModuleType(name)
        sys.modules[name] = module  # dataclasses look their own module up
        try:
            exec(compile(text, path.name, "exec"), module.__dict__)
        except Exception as error:
            del sys.modules[name]
            raise DeclarationError(f"{path.name} does not run: {type(error).__name__}: {error}") from None
    return module

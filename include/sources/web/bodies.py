"""The body of a response, decompressed while it comes, and never more of it than is allowed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import requests

from include.errors import SourceQueryError
from include.sources.web.addresses import shown

_CHUNK_BYTES = 65_536
_GZIP_OR_ZLIB, _RAW_DEFLATE = 47, -15
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})


class TruncatedBodyError(OSError):
    """Raised when a compressed body ends before its end: the connection broke, and a retry may get the rest."""


def read_body(response: requests.Response, *, max_bytes: int, is_cut: bool = False) -> bytes:
    """
    Read a response's body.

    Parameters
    ----------
    response : Response
        Opened with `stream=True`.
    max_bytes : int
        Of the body, both as it is sent and decompressed.
    is_cut : bool
        Whether a longer body is cut there, not refused.

    Raises
    ------
    SourceQueryError
        If the body is longer, or compressed in a way that was not asked for.
    TruncatedBodyError
        If a compressed body is not whole.

    """
    body = bytearray()
    for piece in _pieces(response, max_bytes):
        body += piece
        if len(body) > max_bytes:
            if is_cut:
                return bytes(body[:max_bytes])
            raise _too_large(response.url, max_bytes)
    return bytes(body)


def _too_large(address: str, max_bytes: int) -> SourceQueryError:
    return SourceQueryError(
        f"{shown(address)}: the page is larger than {max_bytes:,} bytes (source.max_page_bytes): raise it, or leave it "
        "out"
    )


def _pieces(response: requests.Response, max_bytes: int) -> Iterator[bytes]:
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    raw = _received(response, max_bytes)
    if coding in {"", "identity"}:
        yield from raw
    elif coding in _CODINGS:
        yield from _inflated(raw, response.url, max_bytes)
    else:
        raise SourceQueryError(
            f"{shown(response.url)}: the server compresses by {coding[:40]!r}, which it was not asked for"
        )


def _received(response: requests.Response, max_bytes: int) -> Iterator[bytes]:
    n_bytes = 0
    # Not by `stream()`: there urllib3 reads the line before a chunk whole, however long it is; http.client bounds it.
    while chunk := response.raw.read(_CHUNK_BYTES, decode_content=False):
        yield chunk
        n_bytes += len(chunk)
        if n_bytes > max_bytes:
            raise _too_large(response.url, max_bytes)


def _inflated(raw: Iterator[bytes], address: str, max_bytes: int) -> Iterator[bytes]:
    inflater: zlib._Decompress | None = None
    n_left = max_bytes + 1
    for chunk in raw:
        rest = chunk
        if inflater is None:
            inflater = zlib.decompressobj(_window_of(chunk))
        while rest and n_left > 0:
            if inflater.eof:  # a gzip file may have several members
                inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                # Bounded: a few bytes can stand for gigabytes.
                piece = inflater.decompress(rest, n_left)
            except zlib.error:
                raise SourceQueryError(
                    f"{shown(address)}: the server says that the page is compressed, but it is not"
                ) from None
            n_left -= len(piece)
            rest = inflater.unconsumed_tail or inflater.unused_data
            yield piece
    if inflater is not None and not inflater.eof and n_left > 0:
        raise TruncatedBodyError("the compressed body is not whole")


def _window_of(chunk: bytes) -> int:
    # Some servers call "deflate" what has no header of zlib's.
    return _GZIP_OR_ZLIB if chunk[0] == 0x1F or chunk[0] & 0x0F == 0x08 else _RAW_DEFLATE

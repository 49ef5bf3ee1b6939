"""What a hostile or failing server sends, byte by byte, on raw sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import zlib
from collections.abc import Callable, Iterator

Script = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


@contextlib.contextmanager
def serving(script: Script, *, is_robots_too: bool = False) -> Iterator[str]:
    """Run a script for each request of a page; `robots.txt` is answered by 404. Gives `127.0.0.1:port`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            head = connection.recv(65_536)
            if b"/robots.txt" in head and not is_robots_too:
                connection.sendall(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            elif head:
                script(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def bomb(coding: str, *, status: bytes = b"200 OK", megabytes: int = 200) -> Script:
    """A few hundred kilobytes that stand for hundreds of megabytes."""
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    block = bytes(1 << 20)
    body = b"".join([*(packer.compress(block) for _ in range(megabytes)), packer.flush()])
    length = str(len(body)).encode()

    def script(connection: socket.socket) -> None:
        head = b"HTTP/1.1 " + status + b"\r\nContent-Type: text/html\r\nLocation: /next.html\r\n"
        connection.sendall(
            head + b"Content-Encoding: " + coding.encode() + b"\r\nContent-Length: " + length + b"\r\n\r\n" + body
        )

    return script


def endless(head: bytes, piece: bytes, *, megabytes: int = 300) -> Script:
    """A head, then the same piece again and again."""
    block = piece * (1 + 1_048_576 // len(piece))

    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(megabytes):
            connection.sendall(block)

    return script


def hang(connection: socket.socket) -> None:
    """Accept, and say nothing for as long as the client waits."""
    connection.recv(1)


LONG_CHUNK_LINE = endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 4096)
EMPTY_DEFLATE = endless(HEAD + b"Content-Encoding: deflate\r\n\r\n" + b"\x78\x9c", b"\x00\x00\x00\xff\xff" * 1000)
ENDLESS_BODY = endless(HEAD + b"\r\n", b"<p>x</p>" * 1000)
ENDLESS_HEADERS = endless(b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 1000 + b"\r\n")
ENDLESS_CONTINUE = endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50)

"""Who is told: a real mail server, and a real HTTP server that checks the signature of what it is sent."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from embedded.postgres import free_port

LOGIN, PASSWORD = "updraft", "mail-password-Zq81"
SECRET = "hook-secret-Yw37"


@dataclass
class MailSink:
    """A mail server on loopback; `refuse` is what it answers to each message instead of taking it."""

    port: int = 0
    certificate: Path | None = None
    refuse: str = ""
    messages: list[EmailMessage] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Keep the message."""
        if self.refuse:
            return self.refuse
        self.arrivals.append(time.monotonic())
        self.messages.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"

    @property
    def subjects(self) -> list[str]:
        """What came, in its order."""
        return [str(message["Subject"]) for message in self.messages]

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Fields of an Airflow connection to it."""
        extra = {"from": "updraft@example.com", "to": "ops@example.com"} | (
            {} if self.certificate else {"starttls": False}
        )
        login = {"login": LOGIN, "password": PASSWORD} if self.certificate else {}
        return {"conn_type": "smtp", "host": "localhost", "port": self.port, "extra": extra, **login, **changes}


@contextmanager
def mail_sink(*, certificate: Path | None = None) -> Iterator[MailSink]:
    """Run a mail server; with a certificate it demands STARTTLS, then a login."""
    sink = MailSink(certificate=certificate)
    options: dict[str, Any] = {}
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        options = {
            "tls_context": context,
            "require_starttls": True,
            "authenticator": _check_login,
            "auth_required": True,
        }
    sink.port = free_port()  # not 0: the controller connects to the port that it was given
    controller = Controller(sink, hostname="127.0.0.1", port=sink.port, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # aiosmtpd's own, of its attribute login_data
        controller.start()
        try:
            yield sink
        finally:
            controller.stop()


def _check_login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and (data.login, data.password) == (LOGIN.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=False)


def write_certificate(folder: Path) -> Path:
    """Write a certificate for localhost and its key into one file; who trusts the file trusts the server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8
    path = folder / "localhost.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@dataclass
class HookSink:
    """An HTTP server on loopback that takes what is signed with its secret; `status` is what it answers to that."""

    secret: str = SECRET
    status: int = 204
    port: int = 0
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def bodies(self) -> list[Any]:
        """What was taken, as JSON."""
        return [json.loads(body) for _, body in self.requests]

    @property
    def texts(self) -> list[str]:
        """The subjects of what was taken, in its order."""
        return [body["text"] for body in self.bodies]

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Fields of an Airflow connection to it."""
        return {"conn_type": "http", "host": f"http://127.0.0.1:{self.port}/alerts", "password": self.secret, **changes}

    def answer(self, headers: dict[str, str], body: bytes) -> int:
        """
        Say whether a request is taken: as docs/alerts.md tells a receiver to check it, by the standard
        library alone.
        """
        if self.secret:
            signed = headers["x-updraft-timestamp"].encode() + b"." + body
            wanted = "sha256=" + hmac.new(self.secret.encode(), signed, hashlib.sha256).hexdigest()
            is_fresh = abs(time.time() - int(headers["x-updraft-timestamp"])) < 300
            if not is_fresh or not hmac.compare_digest(wanted, headers["x-updraft-signature"]):
                self.refused += 1
                return 401
        if self.status < 300:
            self.arrivals.append(time.monotonic())
            self.requests.append((headers, body))
        return self.status


@contextmanager
def hook_sink(*, secret: str = SECRET) -> Iterator[HookSink]:
    """Run a web hook's receiver; without a secret, one that takes everything."""
    sink = HookSink(secret=secret)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(sink.answer({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

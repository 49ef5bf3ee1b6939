"""
The settings of Updraft's own code, read in one place: environment variables `UPDRAFT_…`.

| variable | meaning | default |
|---|---|---|
| `UPDRAFT_HOME` | folder of all local state | `.updraft` beside this project |
| `UPDRAFT_LAKE_URI` | root of the lake: a folder, or `s3://bucket/prefix` | `$UPDRAFT_HOME/lake` |
| `UPDRAFT_S3_ENDPOINT_URL` | an S3-compatible server, when the lake is not on AWS | AWS itself |
| `UPDRAFT_REGISTRY_URI` | MLflow's store: `sqlite:////path.db`, `postgresql://…` or `http://server` | a SQLite file in `$UPDRAFT_HOME` |
| `UPDRAFT_ARTIFACTS_URI` | where MLflow keeps model files: a folder, or `s3://bucket/prefix` | `$UPDRAFT_HOME/artifacts` |
| `UPDRAFT_ENDPOINT_URL` | the endpoint that deployments go to | `http://127.0.0.1:8642` |
| `UPDRAFT_ENDPOINT_TOKEN` | bearer token of the endpoint's admin routes | none: admin routes refuse everybody |
| `UPDRAFT_PSEUDONYM_KEY` | key of the pseudonyms in surveys, at least 32 bytes; keep it as long as the data | none: surveys are refused |
| `UPDRAFT_EVIDENCE_KEY` | key that signs decisions and promotions, at least 32 bytes | none: they are chained, not signed |
| `UPDRAFT_LOG_LEVEL` | log level of the endpoint | `INFO` |

`UPDRAFT_ENDPOINT_URL__FLIGHT_DELAYS` names the endpoint of one workflow where there are several. The keys of S3 are
AWS's own variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`). What only `make demo` and `make up`
read stands in docs/operations.md.
"""  # noqa: E501 - a table's row is a line

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from include.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `read_settings` found. Secrets are left out of its repr."""

    home: Path
    lake_uri: str
    registry_uri: str = field(repr=False)  # a database's URI holds its password
    artifacts_uri: str
    endpoint_url: str
    endpoint_urls: Mapping[str, str] = field(default_factory=dict)
    endpoint_token: str | None = field(default=None, repr=False)
    pseudonym_key: str | None = field(default=None, repr=False)
    evidence_key: str | None = field(default=None, repr=False)
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def endpoint_url_of(self, workflow_name: str) -> str:
        """Address of the endpoint that serves one workflow."""
        return self.endpoint_urls.get(workflow_name, self.endpoint_url)


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """
    Read the settings from the environment.

    Raises
    ------
    SettingsError
        If a variable is malformed; the message names it.

    """
    env = os.environ if environ is None else environ
    home = Path(env.get("UPDRAFT_HOME") or PROJECT_ROOT / ".updraft").expanduser().resolve()
    prefix = "UPDRAFT_ENDPOINT_URL__"
    return Settings(
        home=home,
        lake_uri=_lake_uri(env.get("UPDRAFT_LAKE_URI") or str(home / "lake")),
        registry_uri=env.get("UPDRAFT_REGISTRY_URI") or f"sqlite:///{home / 'mlflow.db'}",
        artifacts_uri=env.get("UPDRAFT_ARTIFACTS_URI") or str(home / "artifacts"),
        endpoint_url=_http_url("UPDRAFT_ENDPOINT_URL", env.get("UPDRAFT_ENDPOINT_URL") or "http://127.0.0.1:8642"),
        endpoint_urls={
            name.removeprefix(prefix).lower(): _http_url(name, value)
            for name, value in env.items()
            if name.startswith(prefix)
        },
        endpoint_token=env.get("UPDRAFT_ENDPOINT_TOKEN") or None,
        pseudonym_key=_long_secret("UPDRAFT_PSEUDONYM_KEY", env.get("UPDRAFT_PSEUDONYM_KEY") or None),
        evidence_key=_long_secret("UPDRAFT_EVIDENCE_KEY", env.get("UPDRAFT_EVIDENCE_KEY") or None),
        storage_options=_storage_options(env),
    )


def _lake_uri(value: str) -> str:
    scheme, separator, _ = value.partition("://")
    if separator and scheme not in {"file", "s3"}:
        raise SettingsError(
            f"UPDRAFT_LAKE_URI={value!r}: the scheme {scheme!r} is unknown: use a folder or s3://bucket/prefix"
        )
    return value.removeprefix("file://").rstrip("/")


def _http_url(name: str, value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise SettingsError(f"{name}={value!r} is no address: write http://host:port")
    return value.rstrip("/")


def _long_secret(name: str, value: str | None) -> str | None:
    if value is not None and len(value.encode()) < SECRET_BYTES:
        raise SettingsError(
            f"{name} has {len(value.encode())} bytes, at least {SECRET_BYTES} are needed: draw one as .env.example says"
        )
    return value


def _storage_options(env: Mapping[str, str]) -> dict[str, str]:
    endpoint = env.get("UPDRAFT_S3_ENDPOINT_URL")
    if not endpoint:
        return {}
    _http_url("UPDRAFT_S3_ENDPOINT_URL", endpoint)
    missing = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not env.get(name)]
    if missing:
        raise SettingsError(f"UPDRAFT_S3_ENDPOINT_URL is set, but {' and '.join(missing)} is not: set both keys")
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": env["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": env["AWS_SECRET_ACCESS_KEY"],
        "AWS_REGION": env.get("AWS_REGION", "us-east-1"),
        "AWS_ALLOW_HTTP": "true" if endpoint.startswith("http://") else "false",
    }

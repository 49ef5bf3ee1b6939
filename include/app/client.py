"""Ask a workflow's endpoint, over HTTP, as anybody else does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import requests

FieldKind = Literal["number", "integer", "text", "boolean", "timestamp"]
TIMEOUT_SECONDS = 30.0


class AppError(Exception):
    """Raised when the endpoint does not answer, or refuses; the message is for the person at the page."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One input of the form."""

    name: str
    kind: FieldKind


@dataclass(frozen=True, kw_only=True)
class Served:
    """The model that answers, and what it asks for."""

    name: str
    version: str
    as_of: str
    family: str
    fields: tuple[Field, ...]


def read_served(url: str) -> Served:
    """
    Read which model answers, and the columns that its requests hold.

    Raises
    ------
    AppError
        If the endpoint does not answer, or no model serves yet.

    """
    version = _ask("GET", f"{url}/version")
    properties = _ask("GET", f"{url}/openapi.json")["components"]["schemas"]["Record"]["properties"]
    fields = tuple(Field(name=name, kind=_kind(schema)) for name, schema in properties.items())
    return Served(
        name=version["model_name"],
        version=str(version["model_version"]),
        as_of=str(version["as_of"])[:10],
        family=version["family"],
        fields=fields,
    )


def predict(url: str, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    Ask for predictions.

    Returns
    -------
    list of dict
        A `label` and a `score` each.

    Raises
    ------
    AppError
        With the endpoint's own reason, if it refuses.

    """
    predictions: list[dict[str, Any]] = _ask("POST", f"{url}/invocations", json={"instances": list(records)})[
        "predictions"
    ]
    return predictions


def predict_csv(url: str, data: bytes) -> list[dict[str, Any]]:
    """As `predict`, for the rows of a CSV file with a header."""
    headers = {"Content-Type": "text/csv"}
    predictions: list[dict[str, Any]] = _ask("POST", f"{url}/invocations", data=data, headers=headers)["predictions"]
    return predictions


def _kind(schema: Mapping[str, Any]) -> FieldKind:
    if schema.get("format") == "date-time":
        return "timestamp"
    kinds: dict[str, FieldKind] = {"number": "number", "integer": "integer", "boolean": "boolean"}
    return kinds.get(schema["type"][0], "text")


def _ask(method: str, url: str, **content: Any) -> Any:
    with requests.Session() as session:
        # A proxy of the user's has no business with the loopback.
        session.trust_env = False
        try:
            response = session.request(method, url, timeout=TIMEOUT_SECONDS, **content)
        except requests.RequestException as error:
            raise AppError(
                f"the endpoint {url} does not answer ({type(error).__name__}): is it up? `make status` says"
            ) from None
        if response.ok:
            return response.json()
        try:
            message = response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = response.text[:200]
        raise AppError(f"the endpoint refuses ({response.status_code}): {message}")

"""What a deployment asks of an endpoint, over HTTP with a bound on every wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from include.errors import DeploymentError, EndpointUnavailableError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
STAGE_SECONDS = 120.0  # the endpoint downloads, verifies, loads and warms a model
_MAX_SHOWN = 300
_RETRYABLE = {408, 425, 429, 502, 503, 504}


@dataclass(frozen=True, kw_only=True)
class EndpointClient:
    """One endpoint's address, and the token of its admin routes."""

    url: str
    token: str | None = field(default=None, repr=False)

    def served_version(self) -> str | None:
        """Version that answers now, by the endpoint's own word; None if it has no champion yet."""
        try:
            return str(self._ask("GET", "/version")["model_version"])
        except EndpointUnavailableError:
            # 503 is said by an endpoint without a champion, and by a proxy before none at all: only the first is alive.
            self._ask("GET", "/v2/health/live")
            return None

    def stage(self, version: str) -> None:
        """Load a version beside the one that answers."""
        self._ask("POST", "/admin/stage", content={"version": version}, seconds=STAGE_SECONDS)

    def unstage(self) -> None:
        """Forget the staged version."""
        self._ask("POST", "/admin/unstage")

    def start_canary(self, version: str, *, share: float, requests: int, seconds: float, max_distance: float) -> None:
        """Let the staged version answer a share of the requests; asked again for the same, it goes on."""
        terms = {"share": share, "requests": requests, "seconds": seconds, "max_distance": max_distance}
        self._ask("POST", "/admin/canary", content={"version": version, **terms})

    def canary(self) -> dict[str, Any]:
        """How the canary goes; empty, if there is none."""
        found = self._ask("GET", "/admin/status").get("canary")
        return found if isinstance(found, dict) else {}

    def switch(self, version: str) -> None:
        """Let the staged version answer; the endpoint asks the promotion ledger whether it may."""
        self._ask("POST", "/admin/switch", content={"version": version})

    def roll_back(self) -> None:
        """Let the version answer that did before, if the ledger has rolled back to it."""
        self._ask("POST", "/admin/roll_back")

    def predict_staged(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Answer of the staged version to some rows."""
        return self._ask(
            "POST", "/invocations", content={"instances": list(rows)}, headers={"X-Updraft-Slot": "staged"}
        )

    def _ask(
        self,
        method: str,
        path: str,
        *,
        content: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> dict[str, Any]:
        authorization = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        try:
            response = requests.request(
                method,
                f"{self.url}{path}",
                json=content,
                headers={**authorization, **(headers or {})},
                timeout=(CONNECT_SECONDS, seconds),
                allow_redirects=False,  # a redirect would carry the token elsewhere
            )
        except requests.RequestException as error:
            raise EndpointUnavailableError(
                f"the endpoint {self.url} does not answer {method} {path} ({type(error).__name__}): is it up?"
            ) from None
        if response.status_code in _RETRYABLE:
            raise EndpointUnavailableError(f"{self._said(method, path, response)}: try again")
        return self._content(method, path, response=response)

    def _content(self, method: str, path: str, *, response: requests.Response) -> dict[str, Any]:
        try:
            content = response.json()
        except requests.JSONDecodeError:
            content = None
        if response.status_code != requests.codes.ok or not isinstance(content, dict):
            raise DeploymentError(
                f"{self._said(method, path, response)}: see its log; is UPDRAFT_ENDPOINT_TOKEN the same there?"
            )
        return content

    def _said(self, method: str, path: str, response: requests.Response) -> str:
        try:
            message = str(response.json()["error"]["message"])
        except (requests.JSONDecodeError, KeyError, TypeError):
            message = "no reason given"
        return f"the endpoint {self.url} answers {method} {path} with {response.status_code} ({message[:_MAX_SHOWN]})"

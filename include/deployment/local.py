"""
The target `LocalEndpoint`: a serving process that holds two versions, and that follows the promotion
ledger by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.deployment.endpoint_client import EndpointClient
from include.deployment.release import Release
from include.deployment.target import CanaryReport
from include.errors import CanaryError, DeploymentError
from include.lake.crash_points import crash_point
from include.workflow.deployment import Canary

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LocalTarget:
    """An endpoint process, through its admin routes."""

    client: EndpointClient
    poll_seconds: float = 0.5

    @property
    def name(self) -> str:
        """Its address."""
        return self.client.url

    def served_version(self) -> str | None:
        """Version that answers users."""
        return self.client.served_version()

    def stage(self, release: Release) -> None:
        """Load a version into the staged slot."""
        self.client.stage(release.version)

    def ask_staged(self, release: Release, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Answer of the staged slot, whatever version is in it."""
        return self.client.predict_staged(rows)

    def shift(self, release: Release, canary: Canary) -> CanaryReport | None:
        """
        Let the endpoint run a canary, and look on until it is over: the endpoint itself withdraws what
        misbehaves.
        """
        if self.served_version() in (None, release.version):
            return None
        self.client.stage(release.version)  # an endpoint that was restarted since has forgotten it
        crash_point("local.before_canary")
        self.client.start_canary(
            release.version,
            share=canary.share,
            requests=canary.requests,
            seconds=canary.at_most.total_seconds(),
            max_distance=canary.max_distance,
        )
        crash_point("local.in_canary")
        while (found := self.client.canary()).get("version") == release.version:
            if found["state"] == "passed":
                return CanaryReport(target=self.name, n_requests=found["requests"], distance=found["distance"])
            if found["state"] == "failed":
                self.client.unstage()
                raise CanaryError(
                    f"version {release.version} was withdrawn from {self.name} after {found['requests']} answers: "
                    f"{found['reason']}. The champion answers everything again"
                )
            time.sleep(self.poll_seconds)
        raise CanaryError(
            f"the canary of version {release.version} at {self.name} was ended by somebody else: deploy it again"
        )

    def finalise(self, release: Release) -> None:
        """Switch to the champion of the ledger; the endpoint asks the ledger whether it is."""
        if self.served_version() == release.version:
            self.client.unstage()  # what was staged once more serves already
            return
        # Staging what is staged costs nothing.
        self.client.stage(release.version)
        self.client.switch(release.version)
        served = self.served_version()
        if served != release.version:
            raise DeploymentError(
                f"the endpoint {self.name} was told to serve version {release.version}, but serves {served}"
            )

    def drop(self, release: Release, champion: Release | None) -> None:
        """Empty the staged slot, and end its canary."""
        try:
            self.client.unstage()
        except DeploymentError as error:
            _LOG.warning("the staged version was not dropped; it answers nobody who does not ask for it: %s", error)

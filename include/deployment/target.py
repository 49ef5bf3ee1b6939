"""
The contract of a deployment's target. One suite of tests holds every target to it:
`tests/deployment/test_conformance.py`.

A deployment asks, in this order: `stage`, `ask_staged` (the smoke test), `shift` (the canary), then `finalise` once the
ledger names the version; or `drop`, at any moment before, which leaves the champion answering as if nothing had been
tried. Each may be repeated, and takes up what a killed try has left: what a target creates elsewhere is named after the
model's digest, so that nothing is made twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from include.deployment.release import Release
from include.workflow.deployment import Canary


@dataclass(frozen=True, kw_only=True)
class CanaryReport:
    """How a canary went: how many requests the new version answered, and how far its scores lie from the champion's."""

    target: str
    n_requests: int
    distance: float | None


class Target(Protocol):
    """Where versions answer."""

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        ...

    def served_version(self) -> str | None:
        """
        Version that answers users, by the target's own word; None before the first.

        Raises
        ------
        EndpointUnavailableError
            If it does not answer.

        """
        ...

    def stage(self, release: Release) -> None:
        """
        Load a version beside the one that answers users; users do not notice.

        Raises
        ------
        EndpointUnavailableError, DeploymentError
            If the target does not answer, or refuses the version.

        """
        ...

    def ask_staged(self, release: Release, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Answer of the staged version to some rows, as of `POST /invocations`."""
        ...

    def shift(self, release: Release, canary: Canary) -> CanaryReport | None:
        """
        Let the version answer a share of the traffic, and watch it; None, if there is no other version to share with.

        Raises
        ------
        CanaryError
            If it misbehaves: it was withdrawn, the champion answers everything.

        """
        ...

    def finalise(self, release: Release) -> None:
        """
        Let the version that the ledger names answer everything, see that it does, and remove what earlier versions have
        left.

        Raises
        ------
        DeploymentError
            If it does not come to serve.

        """
        ...

    def drop(self, release: Release, champion: Release | None) -> None:
        """Forget a version that was staged or shifted to; the champion, if there is one, answers everything."""
        ...

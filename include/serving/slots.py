"""Which model answers: the active one, the staged one (asked only by name), and the one that was active before."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor

from include.errors import ModelVersionNotFoundError, UpdraftError
from include.serving.answers import RETRY_LATER, RefusedRequestError
from include.serving.canary import Canary, CanaryTerms
from include.serving.served_model import ServedModel

logger = logging.getLogger(__name__)

Load = Callable[[str], ServedModel]
ReadChampion = Callable[[], str | None]
MAX_WAIT_SECONDS = 60.0


class Slots:
    """
    Loads versions and decides which one is active.

    The promotion ledger is the only authority: whatever a caller asks for, a version becomes active only while the
    ledger calls it the champion. A switch is one assignment; a request keeps the model that it started with.

    Parameters
    ----------
    load : callable
        Version to verified model; slow, run in a thread.
    read_champion : callable
        The version that the ledger calls champion, or None; run in a thread.

    """

    def __init__(self, *, load: Load, read_champion: ReadChampion, executor: Executor) -> None:
        self._load = load
        self._read_champion = read_champion
        self._executor = executor
        self._lock = asyncio.Lock()  # one change at a time
        self.active: ServedModel | None = None
        self.staged: ServedModel | None = None
        self.previous: ServedModel | None = None
        self.canary: Canary | None = None
        self.n_switches = 0
        self.last_error: str | None = None
        self.reason = "the endpoint is starting: it has not read the promotion ledger yet"

    async def stage(self, version: str) -> ServedModel:
        """Load and verify a version beside the active one. Staging what is loaded already loads nothing."""
        async with self._lock:
            found = self._loaded(version) or await self._load_version(version)
            if self.canary is not None and self.canary.version != version:
                self._end_canary()
            self.staged = found
            return found

    def unstage(self) -> None:
        """Forget the staged version, and with it its canary; the active one keeps answering."""
        self._end_canary()
        self.staged = None

    async def start_canary(self, version: str, terms: CanaryTerms) -> Canary:
        """
        Let the staged version answer a share of the requests. Asked again for what runs or has passed, it goes on.

        Raises
        ------
        RefusedRequestError
            409 if the version is not staged, or there is no champion to take the other requests.

        """
        async with self._lock:
            if self.staged is None or self.staged.version != version:
                raise _conflict(f"version {version} is not staged: stage it first")
            if self.active is None or self.active.version == version:
                raise _conflict(
                    "there is no other champion, which the remaining requests could go to: switch without a canary"
                )
            if (
                self.canary is None
                or (self.canary.version, self.canary.terms) != (version, terms)
                or self.canary.state == "failed"
            ):
                self._end_canary()
                self.canary = Canary(version, terms)
                logger.info("version %s answers %g of the requests", version, terms.share)
            return self.canary

    async def switch(self, version: str) -> ServedModel:
        """
        Let a staged (or the previous) version answer, if the ledger calls it the champion.

        Raises
        ------
        RefusedRequestError
            409 if the ledger names another champion, or the version is not loaded.

        """
        async with self._lock:
            champion = await self._champion()
            if champion != version:
                raise _conflict(
                    f"version {version} is not the champion, the promotion ledger names {champion}: promote it first"
                )
            found = self._loaded(version)
            if found is None:
                raise _conflict(f"version {version} is not staged: stage it first")
            return self._activate(found)

    async def roll_back(self) -> ServedModel:
        """
        Let the previous version answer again, if the ledger has rolled back to it.

        Raises
        ------
        RefusedRequestError
            409 if there is no previous version, or the ledger does not name it.

        """
        if self.active is None or self.previous is None:
            raise _conflict(
                "no version was active before this one since the endpoint started: roll back in the registry, and it "
                "follows"
            )
        try:
            return await self.switch(self.previous.version)
        except RefusedRequestError as error:
            raise _conflict(
                f"{error}. Version {self.active.version} goes on answering: roll back in the registry, and it follows"
            ) from None

    async def follow(self) -> None:
        """Read the ledger once, and make its champion the active version. A failure keeps the old one."""
        async with self._lock:
            champion = await self._champion()
            if champion is None:
                self.reason = "no champion yet: promote a version first"
            elif self.active is None or self.active.version != champion:
                self.reason = f"version {champion} is being loaded"
                self._activate(self._loaded(champion) or await self._load_version(champion))
            self.last_error = None

    async def follow_forever(self, *, every_seconds: float) -> None:
        """Follow the ledger until cancelled; after failures, with growing pauses."""
        n_failures = 0
        while True:
            try:
                await self.follow()
                n_failures = 0
            except Exception as error:  # whatever happens, the old model keeps answering and the next round tries again
                n_failures += 1
                self.last_error = _describe(error)
                if self.active is None:
                    self.reason = f"the champion is not loaded: {self.last_error}"
                logger.warning(
                    "cannot follow the promotion ledger: %s", error, exc_info=not isinstance(error, UpdraftError)
                )
            await asyncio.sleep(min(MAX_WAIT_SECONDS, every_seconds * 2 ** min(n_failures, 8)))

    async def _champion(self) -> str | None:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._read_champion)

    def _loaded(self, version: str) -> ServedModel | None:
        return next(
            (
                slot
                for slot in (self.active, self.staged, self.previous)
                if slot is not None and slot.version == version
            ),
            None,
        )

    async def _load_version(self, version: str) -> ServedModel:
        started = time.monotonic()
        found = await asyncio.get_running_loop().run_in_executor(self._executor, self._load, version)
        logger.info("version %s loaded and verified in %.2f s", version, time.monotonic() - started)
        return found

    def _end_canary(self) -> None:
        if self.canary is not None:
            self.canary.close()
            self.canary = None

    def _activate(self, found: ServedModel) -> ServedModel:
        self._end_canary()
        if self.staged is not None and self.staged.version == found.version:
            self.staged = None
        if self.active is None or self.active.version != found.version:
            self.previous, self.active = self.active, found
            self.n_switches += 1
            logger.info("version %s is active", found.version)
        return found


def refuse_version(error: UpdraftError, version: str) -> RefusedRequestError:
    """What a caller is told of a version that cannot be loaded."""
    if isinstance(error, ModelVersionNotFoundError):
        return RefusedRequestError(str(error), status=404)
    if error.is_retryable:
        return RefusedRequestError(str(error), status=503, headers=(RETRY_LATER,))
    return RefusedRequestError(f"version {version} is not loaded: {error}", status=409)


def _conflict(message: str) -> RefusedRequestError:
    return RefusedRequestError(message, status=409)


def _describe(error: Exception) -> str:
    # Only Updraft's own messages are known to hold neither secrets nor rows.
    return str(error) if isinstance(error, UpdraftError) else f"{type(error).__name__}: see the endpoint's log"

"""Who was champion, and after whom: the promotion ledger, read."""

from __future__ import annotations

import pyarrow.compute as pc

from include.errors import RegistryError
from include.lake.ledger import CHAMPION, PROMOTIONS, PromotionRecord, read_ledger
from include.lake.store import Lake


def version_of(record: PromotionRecord | None) -> str | None:
    """The version that a promotion made champion."""
    return None if record is None else record.model_version


def promotions_of(lake: Lake, workflow_name: str, version: str) -> list[PromotionRecord]:
    """All changes that made a version champion, the oldest first."""
    condition = (pc.field("alias") == CHAMPION) & (pc.field("model_version") == version)
    return [
        PromotionRecord(**row)
        for row in read_ledger(lake, PROMOTIONS, workflow=workflow_name).filter(condition).to_pylist()
    ]


def replaced_version(lake: Lake, workflow_name: str, version: str, *, champion: PromotionRecord | None) -> str | None:
    """
    Version that a version replaced when it was promoted; of one that never was, the champion that it
    would replace.
    """
    promotions = [record for record in promotions_of(lake, workflow_name, version) if record.action == "promote"]
    return promotions[-1].previous_version if promotions else version_of(champion)


def earlier_champion(lake: Lake, workflow_name: str, version: str, *, to_version: str | None) -> PromotionRecord:
    """
    Which promotion to go back to from a champion: that of the version it replaced, or of an earlier champion that is
    named.

    Raises
    ------
    RegistryError
        If there is none.

    """
    if to_version is None:
        # What it replaced when it was promoted: two roll-backs in a row go back twice, not forth again.
        to_version = replaced_version(lake, workflow_name, version, champion=None)
        if to_version is None:
            raise RegistryError(
                f"version {version} of {workflow_name!r} replaced no other champion: there is nothing to roll back to"
            )
    found = [] if to_version == version else promotions_of(lake, workflow_name, to_version)
    if not found:
        raise RegistryError(
            f"version {to_version} of {workflow_name!r} was no earlier champion: roll back to one that was"
        )
    return found[-1]

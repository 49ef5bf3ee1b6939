"""
The record of a version, held against itself: the ledger's chains, the last decision and its evidence,
the manifest.
"""

from __future__ import annotations

from include.errors import EvidenceError
from include.lake.ledger import DECISIONS, PROMOTIONS, chain_faults, latest_decision
from include.lake.store import Lake
from include.modeling.model import ModelManifest
from include.modeling.provenance import code_digest, lock_digest
from include.registry.evidence import read_evidence
from include.registry.lookup import RegisteredVersion


def check_record(found: RegisteredVersion, manifest: ModelManifest | None, *, lake: Lake) -> list[str]:
    """
    What in a version's record contradicts the rest, in sentences that name it; nothing, for a version that was never
    judged.

    Parameters
    ----------
    found : RegisteredVersion
        The version.
    manifest : ModelManifest, optional
        Its verified manifest; None where that can't be read.
    lake : Lake
        Where ledger and evidence are.

    """
    faults = [
        f"the record {table}: {fault}"
        for table in (DECISIONS, PROMOTIONS)
        for fault in chain_faults(lake, table, found.workflow)
    ]
    decision = latest_decision(lake, found.workflow, found.version)
    if decision is None:
        return faults
    if decision.model_digest != found.model_digest:
        faults.append(f"the model digest: judged {decision.model_digest[:12]}…, registered {found.model_digest[:12]}…")
    try:
        content = read_evidence(lake, decision)
    except EvidenceError as error:
        return [*faults, f"the record: {error}"]
    if manifest is not None and content.get("seed", manifest.random_state) != manifest.random_state:
        faults.append(f"the seed: judged {content['seed']}, manifest {manifest.random_state}")
    rows = manifest.snapshot.get("digest") if manifest is not None else None
    judged = content.get("snapshot", {}).get("digest", rows)
    if rows is not None and judged != rows:
        faults.append(f"the rows: judged on {judged[:12]}…, manifest {rows[:12]}…")
    return faults


def changed_since(found: RegisteredVersion, *, lake: Lake) -> list[str]:
    """
    Which of code and lock file are not those that the version was judged with: why a rebuilt model may
    be another one.
    """
    decision = latest_decision(lake, found.workflow, found.version)
    try:
        content = {} if decision is None else read_evidence(lake, decision)
    except EvidenceError:
        return []
    now = {"code_digest": ("the code (include/)", code_digest()), "lock_digest": ("the lock file", lock_digest())}
    return [
        f"{what} has changed since it was judged: {content[name][:12]}… then, {digest[:12]}… now"
        for name, (what, digest) in now.items()
        if content.get(name, digest) != digest
    ]

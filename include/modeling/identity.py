"""The identity of a training: what makes two of them the same."""

from __future__ import annotations

import json

from include.lake.digests import digest_bytes
from include.modeling.provenance import code_digest, lock_digest
from include.modeling.snapshot import Snapshot
from include.workflow import Workflow


def training_id_of(
    workflow: Workflow, snapshot: Snapshot, *, budget_seconds: float, warm_from: str | None = None, salt: str = ""
) -> str:
    """
    Sixteen hex digits of the SHA-256 of declaration, snapshot, budget, code, lock file, and of the training whose
    search it starts from.

    The same training has the same id: a retry finds its finished trials and its registered version, and a later run
    finds what was made and need not make it again. Another byte of code or another locked library is another training.
    A `salt` makes it another one too.
    """
    identity = [workflow.digest(), snapshot.snapshot_id, budget_seconds, code_digest(), lock_digest(), warm_from, salt]
    return digest_bytes(json.dumps(identity).encode())[:16]

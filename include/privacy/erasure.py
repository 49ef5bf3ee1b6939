"""
Erase one respondent: no answer of theirs comes in again, none is left in any version of any table, and the ledger says
so.

A respondent is told by the pseudonym. It stands in no file of the lake afterwards: the ledger keeps its digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import pyarrow.compute as pc

from include.errors import CorruptDataError, PrivacyError, TamperedModelError
from include.lake.erasures import ErasureProof, record_proof, record_request
from include.lake.store import Lake
from include.modeling.model import read_manifest
from include.modeling.snapshot import Snapshot, read_parts
from include.privacy.partitions import Author
from include.privacy.rules import Forgetting, survey_of
from include.privacy.sweep import sweep
from include.registry.lookup import list_versions, version_folder
from include.registry.store import Registry
from include.sources.survey.pseudonyms import pseudonym_digest
from include.workflow import Workflow

_PSEUDONYM = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class TrainedModels:
    """
    Versions that had the respondent among their rows, and versions of which that can't be told any more: their rows are
    gone.
    """

    trained: tuple[str, ...]
    unknown: tuple[str, ...]


def request_erasure(workflow: Workflow, pseudonym: str, *, lake: Lake, now: datetime) -> None:
    """
    Write down that a respondent is to be erased: from here on the source lets no answer of theirs in.

    Raises
    ------
    PrivacyError
        If the workflow reads no survey or tells no respondents apart, or the text is no pseudonym.

    """
    record_request(lake, workflow.name, _digest(workflow, pseudonym), now=now)


def find_models(workflow: Workflow, pseudonym: str, *, lake: Lake, registry: Registry) -> TrainedModels:
    """Look into the rows of each registered version, as they were pinned. To be asked before the rows go."""
    _digest(workflow, pseudonym)
    column = survey_of(workflow).privacy.respondent
    trained, unknown = [], []
    for version in list_versions(registry, workflow.name):
        try:
            with version_folder(registry, version) as folder:
                snapshot = Snapshot(**read_manifest(folder).snapshot)
            parts = read_parts(workflow, snapshot, lake=lake)
        except (CorruptDataError, TamperedModelError):
            unknown.append(version.version)
            continue
        if any(column not in rows.column_names for rows in parts):
            # Trained before the workflow told respondents apart.
            unknown.append(version.version)
        elif any(pc.any(pc.equal(rows[column], pseudonym)).as_py() for rows in parts):
            trained.append(version.version)
    return TrainedModels(trained=tuple(trained), unknown=tuple(unknown))


def erase(
    workflow: Workflow, pseudonym: str, *, lake: Lake, now: datetime, by: Author, models: TrainedModels
) -> ErasureProof:
    """
    Remove a respondent's rows from all tables and all their versions, look for them once more, and write down the
    proof.

    Parameters
    ----------
    workflow, pseudonym
        Whose answers.
    lake : Lake
        Where.
    now : datetime
        The moment of the proof.
    by : Author
        Token and ids; the token has to be newer than the request.
    models : TrainedModels
        What `find_models` said before.

    Raises
    ------
    ConcurrentWriteError
        If an ingest wrote such rows meanwhile: run again.

    """
    digest = _digest(workflow, pseudonym)
    report = sweep(Forgetting(workflow=workflow, cutoff=None, erased=frozenset({digest})), lake=lake, now=now, by=by)
    proof = ErasureProof(
        workflow=workflow.name,
        pseudonym_digest=digest,
        rows_before=report.rows_before,
        rows_after=report.rows_after,
        files_removed=report.files_removed,
        files_scanned=report.files_scanned,
        models=models.trained,
        models_unknown=models.unknown,
        recorded_at=now,
    )
    record_proof(lake, proof, token=by.token)
    return proof


def _digest(workflow: Workflow, pseudonym: str) -> str:
    if survey_of(workflow).privacy.respondent is None:
        raise PrivacyError(
            f"{workflow.name!r} declares no pseudonym (privacy.pseudonym): its rows tell no respondents apart"
        )
    if not _PSEUDONYM.fullmatch(pseudonym):
        # Not the text: it may be somebody's name.
        raise PrivacyError(
            "that is no pseudonym, which has 64 hex digits: python -m include.privacy prints a respondent's"
        )
    return pseudonym_digest(pseudonym)

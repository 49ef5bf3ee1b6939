"""
Retention: rows of surveys that are older than declared go, each day, together with whoever was erased and came back
since.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from include.lake.store import Lake
from include.privacy.partitions import Author
from include.privacy.rules import retention_of
from include.privacy.sweep import SweepReport, sweep
from include.sources.files.expiry import remove_old_files
from include.workflow import FileSource, SurveySource, Workflow


def enforce_retention(
    workflow: Workflow,
    *,
    lake: Lake,
    now: datetime,
    by: Author,
    connection_uri: str | None = None,
    dry_run: bool = False,
) -> SweepReport | None:
    """
    Remove what is too old from all tables of a survey, and from storage; None for a workflow that reads no survey.

    Parameters
    ----------
    workflow : Workflow
        Any.
    lake : Lake
        Where its tables are.
    now : datetime
        Ages count from here.
    by : Author
        Token and ids.
    connection_uri : str, optional
        Where the source's files are, if `privacy.remove_files` says that they go as well.
    dry_run : bool
        Count only.

    """
    source = workflow.source
    if not isinstance(source, SurveySource):
        return None
    n_files = 0
    if source.privacy.remove_files and isinstance(source.source, FileSource):
        # Before the lake's rows: what is still there could be read again.
        every, cutoff = workflow.partition.every, now - source.privacy.retention
        n_files = len(
            remove_old_files(source.source, every=every, cutoff=cutoff, connection_uri=connection_uri, dry_run=dry_run)
        )
    report = sweep(retention_of(workflow, lake=lake, now=now), lake=lake, now=now, by=by, dry_run=dry_run)
    return replace(report, source_files_removed=n_files)

"""People hide among others: what is published of a survey is published of k respondents or more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from include.lake.cells import is_in_small_cell
from include.quality.rows import Finding, Rows
from include.workflow.source import Cells


def small_cells(rows: Rows, findings: Sequence[Finding], cells: Cells) -> Finding:
    """
    Find the rows that no rule refuses, and that too few others would be published with.

    The survey was made k-anonymous as it landed; duplicates and refused rows are missing from what is published of it.
    """
    is_accepted = np.ones(rows.source.num_rows, dtype=bool)
    for finding in findings:
        is_accepted[finding.positions] = False
    is_small = is_in_small_cell(rows.source, cells.columns, respondent=cells.respondent, k=cells.k, among=is_accepted)
    return Finding(reason=too_few_published(cells.k), positions=np.flatnonzero(is_small))


def too_few_published(k: int) -> str:
    """Why a row is refused that its landing let through."""
    return f"privacy: fewer than {k} respondents share its quasi-identifiers once the other refusals are out"

"""A card's section on where a model is weak: slices, the gaps between groups, and rows where it is most wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from include.evaluation.bootstrap import Interval
from include.evaluation.card_words import number, tell_interval, value_and_span
from include.evaluation.document import Block, Code, Paragraph, Table, Text
from include.evaluation.metrics import gain
from include.evaluation.report import EvaluationReport
from include.evaluation.slices import SliceReport
from include.evaluation.titles import TITLES

_MAX_SHOWN_COLUMNS = 8  # of an error example


def slice_blocks(report: EvaluationReport, metric: str) -> Iterator[Block]:
    """Tell which slices are worse than all rows, and by how far groups lie apart."""
    if not report.slices:
        yield Paragraph("No slices are declared (`gate.slices`), so weak spots were not looked for.")
        return
    # Average precision grows with the share of positives, which differs by slice; the area under ROC does not.
    fair = "roc_auc" if metric == "average_precision" else metric
    overall = report.metrics[fair]
    weak = [f"{s.column} = {s.value}" for s in report.slices if _is_weak(s, overall, fair)]
    yield Paragraph(
        f"{TITLES[fair]} on all rows: {tell_interval(overall)}. "
        f"Slices whose whole interval is on the worse side of that: {', '.join(weak) or 'none'}. "
        f"(Of the {len(report.slices)} slices, one in forty would be so by chance.)"
    )
    gaps = list(_gaps(report.slices, fair))
    if gaps:
        yield Table(("column", f"gap in {TITLES[fair]}", "best", "worst"), gaps)
    shown = list(dict.fromkeys([metric, fair]))
    titles = [title for name in shown for title in (TITLES[name], "95 % interval")]
    share = [] if report.n_positives is None else ["positive"]
    yield Table(("column", "value", "rows", *share, *titles), [_slice_cells(s, shown) for s in report.slices])


def example_blocks(report: EvaluationReport) -> Iterator[Block]:
    """Show the rows where the model is most wrong: by their id, and their values by their shape only."""
    if not report.examples:
        return
    yield Paragraph(
        "Rows where it is most wrong. Values are shown by their shape; the row itself is found in the lake by its id."
    )
    columns = list(report.examples[0].masked)[:_MAX_SHOWN_COLUMNS]
    rows: list[list[Text]] = [
        [Code(e.row_id), e.mistake, *(Code(e.masked[name]) for name in columns)] for e in report.examples
    ]
    yield Table(("row_id", "what went wrong", *columns), rows)


def few_rows(report: EvaluationReport, metric: str) -> list[str]:
    """Slices of which nothing sure can be said."""
    return [f"{s.column} = {s.value}" for s in report.slices if not math.isfinite(s.metrics[metric].low)]


def _slice_cells(item: SliceReport, metrics: Sequence[str]) -> list[str]:
    share = [] if item.n_positives is None else [f"{100 * item.n_positives / item.n_rows:.1f} %"]
    return [
        item.column,
        item.value,
        f"{item.n_rows:,}",
        *share,
        *(cell for name in metrics for cell in value_and_span(item.metrics[name])),
    ]


def _gaps(slices: Sequence[SliceReport], metric: str) -> Iterator[tuple[str, str, str, str]]:
    """By column: how far the best and the worst value lie apart, of those with an interval."""
    for column in dict.fromkeys(s.column for s in slices):
        judged = [s for s in slices if s.column == column and math.isfinite(s.metrics[metric].low)]
        if len(judged) > 1:
            ranked = sorted(judged, key=lambda s: float(gain(metric, s.metrics[metric].value, 0.0)))
            worst, best = ranked[0], ranked[-1]
            gap = abs(best.metrics[metric].value - worst.metrics[metric].value)
            told_best, told_worst = (f"{s.value}: {tell_interval(s.metrics[metric])}" for s in (best, worst))
            yield column, number(gap), told_best, told_worst


def _is_weak(item: SliceReport, overall: Interval, metric: str) -> bool:
    interval = item.metrics[metric]
    return all(bool(gain(metric, bound, overall.value) < 0) for bound in (interval.low, interval.high))

"""
The report on a window: one HTML file with a plot a feature, in the lake.

It holds shares and names of common categories, never a row's value; of a survey not even the names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from include.evaluation.document import Block, Bullets, Code, Document, Paragraph, Picture, Section, Strong, Table, Text
from include.evaluation.html import write_html
from include.evaluation.svg import BLUE, GREY, ORANGE, Point, draw_bars, draw_points
from include.lake.digests import digest_bytes
from include.lake.files import put_file
from include.lake.records import MonitoringRecord
from include.lake.store import Lake
from include.modeling.profile import FeatureProfile
from include.monitoring.drift import DriftReport, FeatureDrift, quality_cells
from include.monitoring.retraining import RetrainRequest
from include.workflow import Workflow
from include.workflow.partitions import PartitionWindow
from include.workflow.tasks import LOWER_IS_BETTER

MAX_PLOTS = 30
SHOWN_WINDOWS = 60  # in a plot over time


@dataclass(frozen=True, kw_only=True)
class WindowReport:
    """What a report is written from; `line` is the verdict on the inputs, `history` all lines up to this window."""

    workflow: Workflow
    window: PartitionWindow
    drift: DriftReport
    line: MonitoringRecord
    n_of_others: int
    history: tuple[MonitoringRecord, ...]
    request: RetrainRequest | None
    n_waiting: int


def store_report(report: WindowReport, *, lake: Lake) -> str:
    """Write a report into `<name>/_monitoring/`, under a name with its digest; the address."""
    data = write_html(write_document(report)).encode()
    name = f"{report.window.key}.{digest_bytes(data)[:16]}.html"
    return put_file(lake, f"{report.workflow.name}/_monitoring/{name}", data)


def write_document(report: WindowReport) -> Document:
    """Write what a report says."""
    is_hidden = report.workflow.source.kind == "survey"
    names = {"hour": "hour", "day": "day", "week": "week from"}
    drifts = sorted(report.drift.features, key=lambda item: (item.verdict != "drift", -(item.effect or 0)))
    plots = [_plot_feature(item, is_hidden=is_hidden) for item in drifts[:MAX_PLOTS]]
    sections = [
        Section("Verdict", list(_verdict_blocks(report))),
        Section("Features: shares in training and in the window", [*_feature_blocks(report, drifts), *plots]),
        Section("Data quality", list(_quality_blocks(drifts))),
        Section("Performance", list(_performance_blocks(report))),
    ]
    title = f"{report.workflow.name}, {names[report.workflow.monitoring.every]} {report.window.key}"
    mood = "good" if report.line.verdict == "ok" else "bad" if report.line.verdict == "drift" else ""
    said = {
        "ok": "The inputs look as in training.",
        "drift": "The inputs have drifted.",
        "unknown": "The inputs could not be judged.",
    }
    lead = Paragraph((Strong(report.line.verdict), f" · {said[report.line.verdict]} {_decision(report)}"))
    return Document(title, [Paragraph(report.workflow.description), lead], sections, mood)  # type: ignore[arg-type]  # a closed set


def _decision(report: WindowReport) -> str:
    if report.request is not None:
        return f"A training as of {report.request.as_of[:16]} was asked for."
    return "No training was asked for."


def _verdict_blocks(report: WindowReport) -> Iterator[Block]:
    line = report.line
    version: tuple[Text, ...] = (
        () if line.model_version is None else (("Answered by version ", Code(line.model_version)),)
    )
    counts = (
        f"{line.n_rows:,} predictions between {report.window.start:%Y-%m-%d %H:%M} and "
        f"{report.window.end:%Y-%m-%d %H:%M} UTC"
    )
    others = (f"{report.n_of_others:,} more by other versions, left out",) if report.n_of_others else ()
    yield Bullets([counts, *version, *others, *json.loads(line.reasons)])
    if line.request:
        yield Paragraph(f"{line.request[:1].upper()}{line.request[1:]}.")
    if report.request is not None:
        yield Paragraph(("Why: ", report.request.reason))
    inputs = _lines(report.history, "inputs")
    if len([line for line in inputs if line.effect is not None]) > 1:
        yield _plot_effects(inputs)


def _performance_blocks(report: WindowReport) -> Iterator[Block]:
    lines = _lines(report.history, "performance")
    if report.n_waiting:
        share = f"{100 * report.workflow.monitoring.label_coverage:g} %"
        yield Paragraph(
            f"Waiting for labels: {report.n_waiting} windows (a verdict needs them for {share} of the predictions)."
        )
    if not lines:
        declared = report.workflow.monitoring.decay is not None
        yield Paragraph(
            "No window has been judged yet." if declared else "Not judged: monitoring.decay is not declared."
        )
        return
    rows = [
        (
            line.partition_key,
            Strong(line.verdict) if line.verdict == "decay" else line.verdict,
            str(line.model_version),
            _percent(line.coverage),
            _number(line.value),
            f"{_number(line.low)} to {_number(line.high)}",
            _number(line.reference),
        )
        for line in reversed(lines[-14:])
    ]
    metric = str(lines[-1].metric)
    yield Table(("window", "verdict", "version", "labelled", metric, "95 % interval", "on the test rows"), rows)
    judged = [line for line in lines if line.value is not None]
    if len(judged) > 1:
        yield _plot_performance(judged, metric)


def _feature_blocks(report: WindowReport, drifts: Sequence[FeatureDrift]) -> Iterator[Block]:
    if not drifts:
        yield Paragraph("Nothing could be compared.")
        return
    yield Paragraph(
        "Effect: how far the window's shares are from the training rows' (Jensen-Shannon distance, 0 equal to 1 "
        "nothing in common, less what chance adds). Bound: the declared minimum, or how far the training rows' own "
        "windows lay apart. p: chance of such a difference if nothing had changed, in view of the number of features."
    )
    rows = [
        (
            Code(item.name),
            Strong(item.verdict) if item.verdict == "drift" else item.verdict,
            _number(item.effect, digits=3),
            f"{item.bound:.3f}",
            "" if item.p_value is None else f"{item.p_value:.2g}",
        )
        for item in drifts
    ]
    yield Table(("feature", "verdict", "effect", "bound", "p"), rows)
    if len(drifts) > MAX_PLOTS:
        yield Paragraph(f"Drawn are the {MAX_PLOTS} features that moved most.")


def _quality_blocks(drifts: Sequence[FeatureDrift]) -> Iterator[Block]:
    rows = []
    for item in drifts:
        now, then = _shares(item.current), _shares(item.profile.counts)
        for said, cell in quality_cells(item.profile).items():
            if now[cell] > 0 or then[cell] > 0:
                rows.append((Code(item.name), said, _percent(now[cell]), _percent(then[cell])))
    if rows:
        yield Table(("feature", "share of values", "in the window", "in training"), rows)
    else:
        yield Paragraph("No value is missing, new, or out of the range of training.")


def _plot_feature(item: FeatureDrift, *, is_hidden: bool) -> Picture:
    labels = [_shorten(label) for label in cell_names(item.profile, is_hidden=is_hidden)]
    then, now = _shares(item.profile.counts), _shares(item.current)
    shown = [i for i in range(len(labels)) if then[i] or now[i]]
    effect = "not compared" if item.effect is None else f"effect {item.effect:.3f}, bound {item.bound:.3f}"
    chart = draw_bars(
        _shorten(item.name, 30),
        f"{item.verdict}: {effect}",
        labels=[labels[i] for i in shown],
        bars=(
            ("training", GREY, [then[i] for i in shown]),
            ("window", ORANGE if item.verdict == "drift" else BLUE, [now[i] for i in shown]),
        ),
    )
    return Picture(f"figures/{item.name}.svg", f"{item.name}: share of rows by value", chart)


def _shorten(text: str, length: int = 16) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def cell_names(item: FeatureProfile, *, is_hidden: bool = False) -> list[str]:
    """
    Name each cell of a profile for a reader.

    The smallest and the largest training value are single rows' values, and are not told; of a survey no value is.
    """
    if item.kind == "category":
        own = [f"value {i + 1}" for i in range(len(item.categories))] if is_hidden else list(item.categories)
        return [*own, "(rare)", "(never seen)", "(missing)"]
    n = len(item.edges)
    if n == 0:
        return ["(any)", "(missing)"]
    inner = [f"{edge:.4g}" for edge in item.edges[1:-1]]
    if n == 1 or is_hidden:
        between = [f"part {i + 1}" for i in range(n - 1)]
    elif not inner:
        between = ["(as in training)"]
    else:
        between = [
            f"< {inner[0]}",
            *(f"{low}–{high}" for low, high in pairwise(inner)),
            f"≥ {inner[-1]}",
        ]
    return ["(below all)", *between, "(above all)", "(missing)"]


def _plot_effects(lines: Sequence[MonitoringRecord]) -> Picture:
    colours = {"ok": BLUE, "drift": ORANGE, "unknown": GREY}
    points = [
        Point(label=line.partition_key, value=line.effect, color=colours[line.verdict])
        for line in lines
        if line.effect is not None
    ]
    chart = draw_points(
        "Largest effect, window by window",
        "orange: drift, blue: ok, grey: unknown",
        points[-SHOWN_WINDOWS:],
        is_from_zero=True,
    )
    return Picture("figures/effects.svg", "How far the most moved feature is from training, window by window", chart)


def _plot_performance(lines: Sequence[MonitoringRecord], metric: str) -> Picture:
    better = "lower" if metric in LOWER_IS_BETTER else "higher"
    points = [
        Point(
            label=line.partition_key,
            value=line.value,
            low=line.low,
            high=line.high,
            reference=line.reference,
            color=ORANGE if line.verdict == "decay" else BLUE,
        )
        for line in lines
        if line.value is not None
    ]
    note = f"{better} is better; dashed: on the test rows; orange: decay"
    chart = draw_points(f"{metric}, window by window", note, points[-SHOWN_WINDOWS:])
    return Picture(
        "figures/performance.svg", "The metric with its 95 % interval, beside its value on the model's test rows", chart
    )


def _lines(history: Sequence[MonitoringRecord], subject: str) -> list[MonitoringRecord]:
    """One line a window: what was unknown first, and judged later, is told as judged."""
    found = {line.partition_key: line for line in history if line.subject == subject and line.verdict == "unknown"}
    found |= {line.partition_key: line for line in history if line.subject == subject and line.verdict != "unknown"}
    return sorted(found.values(), key=lambda line: line.window_end)


def _shares(counts: Sequence[int]) -> list[float]:
    total = max(1, sum(counts))
    return [count / total for count in counts]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g} %"


def _number(value: float | None, *, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}g}"

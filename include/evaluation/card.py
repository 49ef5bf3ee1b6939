"""
The model card, which can be read alone. What belongs into one: M. Mitchell et al., Model Cards for Model Reporting
(2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from include.evaluation.card_search import leaderboard_blocks, tell_params
from include.evaluation.card_weakness import example_blocks, few_rows, slice_blocks
from include.evaluation.card_words import codes, count, number, tell_interval, value_and_span, when
from include.evaluation.document import (
    Block,
    Bullets,
    Code,
    Document,
    Inline,
    Paragraph,
    Picture,
    Section,
    Strong,
    Table,
    Text,
)
from include.evaluation.gate import Verdict
from include.evaluation.html import write_html
from include.evaluation.markdown import write_markdown
from include.evaluation.report import EvaluationReport
from include.evaluation.thresholds import ThresholdChoice
from include.evaluation.titles import TITLES
from include.workflow import Workflow
from include.workflow.durations import describe_duration
from include.workflow.tasks import LOWER_IS_BETTER

_CAPTIONS = {
    "difference": "Candidate against champion",
    "precision_recall": "Precision and recall",
    "roc": "ROC",
    "calibration": "Calibration",
    "confusion": "Which class was taken for which",
    "residuals": "Errors",
    "slices": "By slice",
    "importance": "What each column is worth",
    "dependence": "How the answer moves with a column",
    "search": "The search",
}
_PLACES = {
    "ship": ("difference",),
    "good": ("precision_recall", "roc", "calibration", "confusion", "residuals"),
    "weak": ("slices",),
    "answers": ("importance", "dependence"),
    "search": ("search",),
}
_MOODS: Mapping[str, Literal["good", "held", "bad"]] = {"PROMOTE": "good", "HOLD": "held"}


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """
    What a card is written from.

    `manifest` and `leaderboard` are the records' `asdict` (see the architecture page: ModelManifest with its snapshot,
    and Trial, best first); `figures` are PNG bytes by file name; `verdict` is None until the gate has judged.
    """

    workflow: Workflow
    version: str | None
    model_digest: str
    manifest: Mapping[str, Any]
    report: EvaluationReport
    leaderboard: Sequence[Mapping[str, Any]] = ()
    verdict: Verdict | None = None
    figures: Mapping[str, bytes] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)  # what else was measured: "latency_ms", "size_mb"
    threshold: ThresholdChoice | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """The same content in two forms."""

    markdown: str
    html: str


def write_card(facts: CardFacts) -> Card:
    """
    Write the card of one model version.

    Parameters
    ----------
    facts : CardFacts
        All that is known of it.

    Returns
    -------
    Card
        Markdown that names its figures as files beside it, and HTML that has them inside.

    """
    document = _document(facts)
    return Card(markdown=write_markdown(document), html=write_html(document))


def _document(facts: CardFacts) -> Document:
    workflow, metric = facts.workflow, facts.workflow.metric
    sections = [
        Section("Did it ship, and why", [*_verdict_blocks(facts.verdict), *_pictures(facts, "ship")]),
        Section("How good, and how sure", [*_metric_blocks(facts), *_pictures(facts, "good")]),
        Section(
            "Where it is weak",
            [*slice_blocks(facts.report, metric), *example_blocks(facts.report), *_pictures(facts, "weak")],
        ),
        Section("What it answers by", [*_importance_blocks(facts.report, metric), *_pictures(facts, "answers")]),
        Section("What it was trained on", list(_training_blocks(facts))),
        Section("What else was tried", [*leaderboard_blocks(facts.leaderboard, metric), *_pictures(facts, "search")]),
        Section("Intended use and limits", [Bullets(list(_limit_lines(facts)))]),
        Section("How to reproduce it", list(_reproduction_blocks(facts))),
    ]
    placed = {name for names in _PLACES.values() for name in names}
    others = [name for name in facts.figures if name.removesuffix(".png") not in placed]
    if others:
        sections.append(Section("Figures", [_picture(facts, name) for name in others]))
    title = f"{workflow.name}, {'version ' + facts.version if facts.version else 'not yet registered'}"
    mood = _MOODS.get(facts.verdict.verdict, "bad") if facts.verdict else ""
    return Document(title, [Paragraph(workflow.description), Paragraph(_summary(facts))], sections, mood)


def _pictures(facts: CardFacts, place: str) -> Iterator[Block]:
    for stem in _PLACES[place]:
        if f"{stem}.png" in facts.figures:
            yield _picture(facts, f"{stem}.png")


def _picture(facts: CardFacts, name: str) -> Picture:
    stem = name.removesuffix(".png")
    return Picture(f"figures/{name}", _CAPTIONS.get(stem, stem), facts.figures[name])


def _summary(facts: CardFacts) -> tuple[Inline, ...]:
    metric, report = facts.workflow.metric, facts.report
    verdict = facts.verdict.verdict if facts.verdict else "not judged yet"
    rate = "" if report.positive_rate is None else f", {100 * report.positive_rate:.1f} % of them positive"
    shown = f" · {TITLES[metric]} {tell_interval(report.metrics[metric])} on {report.n_rows:,} held-out rows{rate}."
    return Strong(verdict), " · family ", Code(str(facts.manifest["family"])), shown


def _verdict_blocks(verdict: Verdict | None) -> Iterator[Block]:
    if verdict is None:
        yield Paragraph("The gate has not judged this version yet: nothing ships without its verdict.")
        return
    yield Paragraph(("The gate says ", Strong(verdict.verdict), ":"))
    yield Bullets(list(verdict.reasons))
    small = [check for check in verdict.checks if check.passed is None]
    if small:
        names = ", ".join(check.name.removeprefix("slice ") for check in small)
        yield Paragraph(f"Not judged, because too small ({len(small)}): {names}.")
    yield Paragraph(
        "What serves now, and what a person decided since, stands on the page Browse > Models of the web UI."
    )


def _metric_blocks(facts: CardFacts) -> Iterator[Block]:
    report, metric = facts.report, facts.workflow.metric
    drawn = (
        ""
        if report.block_seconds is None
        else f" of stretches of {describe_duration(timedelta(seconds=report.block_seconds))}"
    )
    yield Paragraph(
        f"On rows later than all training rows. Intervals: 95 %, bootstrap, {report.n_bootstrap} resamples{drawn}."
    )
    names = sorted(report.metrics, key=lambda name: name != metric)
    rows = [
        (
            Strong(TITLES[name]) if name == metric else TITLES[name],
            *value_and_span(report.metrics[name]),
            _direction(name),
        )
        for name in names
    ]
    yield Table(("metric", "value", "95 % interval", ""), rows)
    if report.calibration_error is not None:
        error = tell_interval(report.calibration_error)
        yield Paragraph(
            f"Calibration error {error}: how far promised probabilities are from what happened, on average over the "
            "rows."
        )
    if facts.threshold is not None:
        yield Paragraph(facts.threshold.describe())
    if report.confusion is not None:
        c = report.confusion
        yield Paragraph(
            f"At the threshold {c.threshold:.4g}: {c.true_positives:,} of {report.n_positives:,} positives found, "
            f"{c.false_positives:,} false alarms, {c.true_negatives:,} negatives left alone."
        )
    if report.residuals is not None:
        r = report.residuals
        low, first, middle, third, high = (f"{value:+.4g}" for value in r.quantiles)
        yield Paragraph(
            f"Errors (actual less predicted): {r.mean:+.4g} on average ({r.mean_low:+.4g} to {r.mean_high:+.4g}), "
            f"{middle} in the middle; half of the rows between {first} and {third}, nine in ten between {low} and "
            f"{high}."
        )


def _importance_blocks(report: EvaluationReport, metric: str) -> Iterator[Block]:
    if not report.importance:
        yield Paragraph("Not measured.")
        return
    yield Paragraph(
        f"How much worse {TITLES[metric]} gets when one column's values are shuffled among the test rows. Columns that "
        "tell the same stand in for each other: each then looks less important than they are together."
    )
    rows = [(Code(item.column), *value_and_span(item.loss)) for item in report.importance[:20]]
    yield Table(("column", "loss", "95 % interval"), rows)
    idle = [item.column for item in report.importance if item.loss.value == item.loss.low == item.loss.high == 0]
    if idle:
        yield Paragraph(("Not used at all: ", *codes(idle), "."))


def _training_blocks(facts: CardFacts) -> Iterator[Block]:
    manifest, snapshot = facts.manifest, facts.manifest["snapshot"]
    missing = ", ".join(map(str, snapshot.get("missing_partitions") or ())) or "none"
    table, digest = f"{facts.workflow.name}/validated", str(snapshot.get("digest", "?"))
    lines: list[Text] = [
        f"As of: {manifest['as_of']} (no row that became known later)",
        f"Fitted on: {when(snapshot, 'train_start', 'test_start')}, {count(snapshot, 'n_train', 'n_validation')} rows",
        f"Tested on: {when(snapshot, 'test_start', 'test_end')}, {count(snapshot, 'n_test')} rows",
        f"Left out because not known yet: {count(snapshot, 'n_not_yet_known')} rows",
        f"Missing partitions: {missing}",
        ("Table ", Code(table), f", version {snapshot.get('table_version', '?')}, digest ", Code(digest)),
        ("Target: ", Code(str(manifest["target"])), *_target(facts)),
        ("Features: ", *codes(manifest["feature_names"])),
    ]
    yield Bullets(lines)


def _target(facts: CardFacts) -> tuple[Inline, ...]:
    report = facts.report
    if report.task == "classification":
        above = facts.workflow.target.above
        return (" is ", Code(repr(facts.manifest["positive"]))) if above is None else (f" is above {above:g}",)
    if report.task == "multiclass":
        return " is one of ", *codes(report.classes)
    return (f", a number ({report.task})",)


def _limit_lines(facts: CardFacts) -> Iterator[Text]:
    workflow, report = facts.workflow, facts.report
    answer = {
        "classification": "Its score is the probability of yes.",
        "multiclass": "It answers with a probability for each class.",
    }.get(report.task, "It answers with a number, in the target's unit.")
    yield f"Meant to answer: {workflow.description} {answer}"
    yield "Valid for rows like those of the windows above: other sources, places or times were not tested."
    excluded = workflow.features.exclude
    yield (
        "Not used as features, because not known at prediction time: ",
        *(codes(excluded) if excluded else ("none declared",)),
        ".",
    )
    if small := few_rows(report, workflow.metric):
        yield f"Too few rows to say anything sure: {', '.join(small)}."
    yield f"Retrained every {workflow.training.every} on {describe_duration(workflow.training.window)} of rows."
    for name, unit in (("latency_ms", "ms a row"), ("size_mb", "MB")):
        if name in facts.measured:
            yield f"{name.split('_')[0].capitalize()}: {number(facts.measured[name], digits=3)} {unit}."


def _reproduction_blocks(facts: CardFacts) -> Iterator[Block]:
    manifest = facts.manifest
    yield Paragraph(
        "Fit the family with these parameters and this seed on the snapshot; the model's digest must come out equal."
    )
    rows = [
        ("model digest", facts.model_digest),
        ("snapshot", manifest["snapshot"].get("snapshot_id", "?")),
        ("training", manifest["training_id"]),
        ("declaration's digest", manifest["workflow_digest"]),
        ("family and parameters", f"{manifest['family']}({tell_params(manifest['params'])})"),
        ("random_state", manifest["random_state"]),
        *((name, version) for name, version in sorted(manifest["libraries"].items())),
    ]
    yield Table(("", ""), [(name, Code(str(value))) for name, value in rows])


def _direction(metric: str) -> str:
    return "lower is better" if metric in LOWER_IS_BETTER else "higher is better"

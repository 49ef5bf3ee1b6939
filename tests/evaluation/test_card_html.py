"""
The card as one file: it needs nothing else, and whatever a row, a name or an error holds stays text. For
every task.
"""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from include.evaluation.bootstrap import Interval
from include.evaluation.card import CardFacts, write_card
from include.evaluation.evaluate import Scoring, evaluate
from include.evaluation.explanation import ErrorExample, FeatureImportance, PartialDependence
from include.evaluation.figures import draw_figures
from include.evaluation.gate import Check, Verdict
from include.evaluation.thresholds import choose_threshold
from include.workflow import Gate, Search, Target, Training
from tests.evaluation.test_card import MANIFEST, TRIALS
from tests.factories import declare_workflow

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"
TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "b", "code", "ul", "li", "div"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td", "figure", "img", "figcaption"}


class Tags(HTMLParser):
    """Every tag and attribute of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text.append(data)


def extras(name):
    loss = Interval(value=0.1, low=0.05, high=0.15)
    return {
        "importance": (FeatureImportance(column=name, loss=loss),),
        "dependence": (
            PartialDependence(column=name, is_number=False, grid=("a", "b"), outputs=("y",), answers=((0.1,), (0.2,))),
        ),
        "examples": (ErrorExample(row_id="r1", mistake="0.9 too low", masked={name: "Aa-99"}),),
    }


def facts_of(tmp_path, task, metric, *, text="plain", y, p, classes=(), is_drawn=False):
    workflow = declare_workflow(
        tmp_path,
        description=f"Which? {text}",
        target=Target(column="is_late", task=task),
        training=Training(search=Search(metric=metric)),
        gate=Gate(),
    )
    depot = np.where(np.arange(len(y)) % 2, text, "south")
    report = evaluate(
        y, p, scoring=Scoring(task=task, classes=classes), slices={"depot": depot}, random_state=0, n_bootstrap=20
    )
    report = replace(report, **extras(text))
    check = Check(name=f"slice {text}", observed=None, bound=None, passed=None, forces=None, reason="")
    return CardFacts(
        workflow=workflow,
        version="3",
        model_digest="e5" * 32,
        manifest={**MANIFEST, "family": text, "feature_names": (text,)},
        report=report,
        leaderboard=[{**TRIALS[0], "error": text, "params": {text: text}}],
        verdict=Verdict(verdict="HOLD", reasons=(f"because {text}",), checks=(check,)),
        figures=draw_figures(report, y, p, metric=metric) if is_drawn else {},
    )


CASES = {
    "classification": ("roc_auc", lambda rng, n: (rng.integers(0, 2, n), rng.random(n))),
    "multiclass": ("log_loss", lambda rng, n: (rng.integers(0, 3, n), rng.dirichlet([1, 1, 1], n))),
    "regression": ("mae", lambda rng, n: (rng.normal(size=n), rng.normal(size=n))),
    "forecasting": ("mae", lambda rng, n: (rng.normal(size=n), rng.normal(size=n))),
}


@pytest.mark.parametrize("task", CASES)
def test_every_task_has_a_card_that_stands_alone(tmp_path, rng, task):
    metric, draw = CASES[task]
    y, p = draw(rng, 120)
    facts = facts_of(
        tmp_path, task, metric, y=y, p=p, classes=("a", "b", "c") if task == "multiclass" else (), is_drawn=True
    )
    page = write_card(facts).html
    found = Tags(page)
    text = " ".join(" ".join(found.text).split())
    for said in (
        "Did it ship, and why",
        "The gate says HOLD : because plain",
        "How good, and how sure",
        "Where it is weak",
        "gap in",
    ):
        assert said in text.replace("HOLD:", "HOLD :")
    assert "Fitted on: 2026-01-12 to 2026-01-26, 2,800 rows" in text
    assert "Rows where it is most wrong" in text
    assert ("class", "verdict held") in found.attributes
    assert found.tags.count("img") == len(facts.figures) >= 4
    addresses = [value for name, value in found.attributes if name in {"src", "href", "action", "srcset"}]
    assert all(value.startswith("data:image/png;base64,") for value in addresses)
    assert "@import" not in page
    assert not re.search(r"url\(|https?://", page)


def test_hostile_text_stays_text(tmp_path, rng):
    y, p = CASES["classification"][1](rng, 120)
    facts = facts_of(tmp_path, "classification", "roc_auc", text=HOSTILE, y=y, p=p)
    page = write_card(replace(facts, version=HOSTILE, model_digest=HOSTILE)).html
    found = Tags(page)
    assert set(found.tags) <= TAGS
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "".join(found.text).count(HOSTILE) >= 10
    assert "49" not in re.findall(r"\{\{.*?\}\}", page)


def test_control_the_parser_would_have_seen_it():
    found = Tags(f"<p>{HOSTILE}</p>")
    assert "script" in found.tags
    assert ("onerror", "alert(1)\"'&{{") in found.attributes or any(name == "onerror" for name, _ in found.attributes)


def test_a_threshold_is_told_with_what_it_was_chosen_for(tmp_path, rng):
    y, p = CASES["classification"][1](rng, 120)
    chosen = choose_threshold(y, p, "precision@recall=0.8")
    facts = facts_of(tmp_path, "classification", "roc_auc", y=y, p=p)
    page = write_card(replace(facts, threshold=chosen)).html
    assert f"The threshold {chosen.threshold:.4g} was chosen for precision@recall=0.8" in page
    assert "was chosen for" not in write_card(facts).html


def test_the_same_facts_give_the_same_bytes(tmp_path, rng):
    y, p = CASES["regression"][1](rng, 60)
    facts = facts_of(tmp_path, "regression", "mae", y=y, p=p)
    assert write_card(facts) == write_card(facts)

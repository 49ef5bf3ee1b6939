"""The two pure functions of `release_notes`: from a page to entries, from an entry to features."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bs4 import BeautifulSoup

from include.workflows.release_notes.features import build
from include.workflows.release_notes.pages import parse

PAGE = """
<section><h2 class="release-version">1.0.9</h2>Released: {day}
<section><h3>orm</h3><ul><li>
<p class="caption"><strong>[orm] [bug]</strong><span class="target" id="change-abc"></span></p>
<p>Fixed <code>x</code> in y.</p>
</li></ul></section></section>
"""


def entry(day: str) -> dict:
    (found,) = parse(BeautifulSoup(PAGE.format(day=day), "lxml"))
    return found


@pytest.mark.parametrize(
    "day", ["October 20, 2015", "Tue Oct 20 2015", "Tue, Oct 20, 2015", "Tuesday, October 20, 2015"]
)
def test_a_day_is_read_in_each_of_its_forms(day):
    assert entry(day)["released_at"] == datetime(2015, 10, 20, tzinfo=UTC)


def test_an_entry_tells_its_tags_and_text():
    found = entry("October 20, 2015")
    assert (found["entry"], found["tags"], found["text"], found["n_code"]) == ("abc", "orm bug", "Fixed x in y.", 1)
    assert found["is_bugfix"] is True


def test_what_is_no_day_stays_a_text_and_nobody_tagged_bugs_before_2011():
    assert entry("some day")["released_at"] == "some day"
    assert entry("October 20, 2009")["is_bugfix"] is None


def test_features_have_the_same_keys_whatever_is_missing():
    full = build({"section": "orm", "text": "Fixed x.", "release": "1.0.9", "n_code": 1, "n_references": 0})
    assert full.keys() == build({}).keys()
    assert full["begins_with_repair"] is True
    assert "tags" not in full

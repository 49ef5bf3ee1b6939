"""Every source that the overview declares is one that can be declared."""

from __future__ import annotations

import re

import pytest

from include.settings import PROJECT_ROOT
from include.workflow import Source

BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (PROJECT_ROOT / "docs" / "sources" / "README.md").read_text(encoding="utf-8"), re.M | re.S
)


def declared(block: str) -> Source:
    names: dict[str, Source] = {}
    exec(block, names)
    return names["source"]


def test_the_page_has_a_source_of_each_kind():
    assert [declared(block).kind for block in BLOCKS] == ["web", "sensor", "files", "survey", "images"]


@pytest.mark.parametrize("block", BLOCKS, ids=[str(number) for number in range(len(BLOCKS))])
def test_its_times_and_key_are_stated(block):
    source = declared(block)
    assert source.event_time
    assert source.known_time

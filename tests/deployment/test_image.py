"""
The image's text, as far as it can be checked without a Docker engine: it starts the program that the
suite has started.
"""

from __future__ import annotations

import json
import re

from include.settings import PROJECT_ROOT

STAGES = re.split(r"^FROM ", (PROJECT_ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]


def stage(name: str) -> str:
    return next(text for text in STAGES if text.splitlines()[0].endswith(f"AS {name}"))


def test_the_serving_stage_starts_the_container_program_on_sagemakers_port() -> None:
    text = stage("serving")
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[1])  # type: ignore[index]
    assert entry == ["python", "-m", "include.serving.container"]
    assert 'CMD ["serve"]' in text
    assert "EXPOSE 8080" in text


def test_the_stage_that_compose_builds_is_the_last() -> None:
    assert STAGES[-1].startswith("updraft AS airflow")

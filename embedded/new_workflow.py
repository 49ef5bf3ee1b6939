"""
`make new-workflow NAME=orders SOURCE=database|web|sensor|file`: a folder and a Dag file that run as they are, to be
changed.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template

from include.errors import DeclarationError, UpdraftError
from include.settings import PROJECT_ROOT

TEMPLATES = Path(__file__).with_name("scaffold")
SOURCES = ("database", "web", "sensor", "file")
USAGE = f"Usage: make new-workflow NAME=orders SOURCE={'|'.join(SOURCES)}"
HISTORY_DAYS = 40


def create_workflow(name: str, source: str, *, root: Path = PROJECT_ROOT) -> list[Path]:
    """
    Write a workflow's folder and its Dag file.

    Parameters
    ----------
    name : str
        Of the workflow: lower-case letters, digits and _.
    source : str
        What it reads: one of `SOURCES`.
    root : Path
        The project's folder.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    DeclarationError
        If the name or the source is none, or something of that name is there already: nothing is written then.

    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise DeclarationError(
            f"NAME={name!r} is no workflow's name: use lower-case letters, digits and _, for instance orders"
        )
    if source not in SOURCES:
        raise DeclarationError(f"SOURCE={source!r} is no kind of source: choose among {', '.join(SOURCES)}")
    folder, dag_file = root / "include" / "workflows" / name, root / "dags" / f"{name}.py"
    for path in (folder, dag_file):
        if path.exists():
            raise DeclarationError(f"{path} is there already: choose another NAME, or remove it first")
    start = datetime.now(UTC).date() - timedelta(days=HISTORY_DAYS)
    words = {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "question": "Which of them will be late?",
        "start": str(start),
    }
    folder.mkdir(parents=True)
    dag_file.parent.mkdir(exist_ok=True)
    written = [folder / "__init__.py"]
    written[0].write_text(f'"""The workflow `{name}`."""\n', encoding="utf-8")
    for template in sorted([*(TEMPLATES / "any").iterdir(), *(TEMPLATES / source).iterdir()]):
        if template.is_file():
            path = dag_file if template.name == "dag.py" else folder / template.name
            path.write_text(Template(template.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
            written.append(path)
    return written


def next_steps(name: str, source: str) -> str:
    """Say how to try what was written, and where to go on."""
    sample = f".venv/bin/python -m include.workflows.{name}.sample"
    connection = f"AIRFLOW_CONN_{name.upper()}_SOURCE"
    steps = {
        "database": f"{sample}     # writes a sample, and prints its connection\n  {connection}=<what it printed> "
        "make up",
        "file": f"{sample}     # writes a sample, a file a day\n  make up",
        "web": f"{sample}     # writes a sample site, and prints its connection; its docstring says how to serve it\n"
        f"  {connection}=<what it printed> make up",
        "sensor": f"{connection}=mqtt://127.0.0.1:1883 make up     # your broker\n"
        f"  {sample} mqtt://127.0.0.1:1883     # after a first run of {name}.ingest",
    }[source]
    return (
        f"Try it (make down first, if a stack runs):\n  {steps}\n"
        f"and open the Dags {name}.ingest, .train, .deploy and .monitor in the web UI.\n"
        f"Then make it yours: include/workflows/{name}/workflow.py says what is read and predicted; docs/tutorial.md "
        "explains each part."
    )


def main(arguments: list[str]) -> int:
    """Create a workflow, and say what to do next."""
    if len(arguments) != 2 or not all(arguments):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        written = create_workflow(*arguments)
    except UpdraftError as error:
        print(f"{error}\n{USAGE}", file=sys.stderr)
        return 1
    for path in written:
        print(f"  {path.relative_to(PROJECT_ROOT)}")
    print(next_steps(*arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""
The pseudonym of a respondent, for the data officer: `python -m include.privacy panel`.

The identifier is asked for, or comes on the standard input; it is no argument, for those stand in the shell's history
and in the list of processes. What is printed goes into the form of the Dag `erase_respondent`.
"""

from __future__ import annotations

import argparse
import getpass
import importlib
import sys
from collections.abc import Sequence

from include.errors import PrivacyError, UpdraftError
from include.privacy.rules import survey_of
from include.sources.survey.pseudonyms import MINIMUM_LENGTH, pseudonym_key, pseudonym_of
from include.workflow import Workflow


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a respondent's pseudonym; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m include.privacy", description="Print the pseudonym of a respondent."
    )
    parser.add_argument("workflow", help="whose respondent, for instance 'panel'")
    name = parser.parse_args(arguments).workflow
    try:
        workflow = _declared(name)
        sys.stdout.write(f"{pseudonym(workflow, _ask(workflow))}\n")
    except UpdraftError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def pseudonym(workflow: Workflow, identifier: str) -> str:
    """
    Compute what stands for an identifier in a workflow's tables.

    Raises
    ------
    PrivacyError
        If the workflow has no respondents that can be told apart, or the identifier is too short to tell one.

    """
    column = survey_of(workflow).privacy.respondent
    if column is None:
        raise PrivacyError(
            f"{workflow.name!r} declares no pseudonym (privacy.pseudonym): its rows tell no respondents apart"
        )
    made = pseudonym_of(identifier, workflow=workflow.name, column=column, key=pseudonym_key())
    if made is None:
        raise PrivacyError(f"that identifier has fewer than {MINIMUM_LENGTH} characters: it tells nobody")
    return made


def _declared(name: str) -> Workflow:
    # Workflows are a layer above: they are found, not imported.
    workflows: list[Workflow] = importlib.import_module("include.workflows").declared_workflows()
    for workflow in workflows:
        if workflow.name == name:
            return workflow
    raise PrivacyError(
        f"there is no workflow {name!r} in include/workflows: it has {', '.join(found.name for found in workflows)}"
    )


def _ask(workflow: Workflow) -> str:
    privacy = survey_of(workflow).privacy
    asked = privacy.pseudonym[privacy.respondent] if privacy.respondent else "identifier"
    return getpass.getpass(f"{asked} of the respondent (not shown): ") if sys.stdin.isatty() else sys.stdin.readline()


if __name__ == "__main__":
    sys.exit(main())

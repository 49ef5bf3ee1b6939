"""What Updraft's operators share: the workflow, the token of the try, the docs in the web UI."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from airflow.sdk import BaseOperator

from include.workflow import Workflow


class UpdraftOperator(BaseOperator):
    """What every operator has: notes in the web UI, made of its docstring and of how to triage it."""

    triage: ClassVar[str] = ""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", self.describe())
        super().__init__(**kwargs)

    @classmethod
    def describe(cls) -> str:
        """The operator's docstring, less its parameters, and how to triage it: Markdown for the web UI."""
        summary = inspect.cleandoc(cls.__doc__ or "").split("\n:param")[0].strip()
        return f"{summary}\n\n*Triage:* {cls.triage}"


class WorkflowOperator(UpdraftOperator):
    """
    One step of one workflow.

    :param workflow: the declaration; it stays in the Dag file's process and is not serialized
    """

    def __init__(self, *, workflow: Workflow, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow


def fencing_token(context: Any) -> int:
    """Token of this try: it grows with every try, so that a stale one can't overwrite a newer one."""
    from include.lake.fencing import token_of_try

    return token_of_try(str(context["ti"].id))

"""Links that tasks show in the web UI."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink

from updraft.addresses import address_of, card_address, report_address


class ModelCardLink(BaseOperatorLink):
    """The model card of the version that a task worked on; without one, the list of models."""

    name = "Model card"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """
        Return the address; Airflow keeps it once the task has ended.

        :param operator: a `VersionStepOperator`, its templates filled in
        :param ti_key: which task instance
        """
        version = str(getattr(operator, "version", ""))
        return card_address(operator.workflow.name, version) if version.isdigit() else address_of("/models")


class WindowReportLink(BaseOperatorLink):
    """The report on the window that a task has judged; to nowhere, before it has."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """
        Return the address; Airflow keeps it once the task has ended.

        :param operator: a `JudgeWindowOperator`, after its execution
        :param ti_key: which task instance
        """
        file = getattr(operator, "report_file", None)
        return report_address(operator.workflow.name, file) if file else ""

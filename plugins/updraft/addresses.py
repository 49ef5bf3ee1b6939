"""Addresses of Updraft's pages in Airflow's web UI."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from airflow.configuration import conf

URL_PREFIX = "/updraft"


def address_of(path: str) -> str:
    """
    Address of a page as the web UI takes it: below a sub-path it has to carry that.

    :param path: below the plugin's own address
    """
    return urlsplit(str(conf.get("api", "base_url", fallback=""))).path.rstrip("/") + URL_PREFIX + path


def card_address(workflow_name: str, version: str) -> str:
    """
    Address of a version's card.

    :param workflow_name: name of the workflow
    :param version: number of the version
    """
    return f"{address_of('/models/card')}?{urlencode({'workflow': workflow_name, 'version': version})}"


def report_address(workflow_name: str, file: str) -> str:
    """
    Address of a window's report.

    :param workflow_name: name of the workflow
    :param file: name of the report's file
    """
    return f"{address_of('/monitoring/report')}?{urlencode({'workflow': workflow_name, 'file': file})}"

"""The assets that join a workflow's Dags into one loop, as the asset graph in the web UI shows it."""

from __future__ import annotations

from airflow.sdk import Asset

from include.workflow import Workflow


def validated(workflow: Workflow) -> Asset:
    """Accepted rows of one partition; events carry the partition's key."""
    return _asset(workflow, "validated")


def model(workflow: Workflow) -> Asset:
    """A registered version that the gate lets through; events carry `version` and `as_of`."""
    return _asset(workflow, "model")


def endpoint(workflow: Workflow) -> Asset:
    """The endpoint after a switch; events carry the version that now answers."""
    return _asset(workflow, "endpoint")


def retrain_requested(workflow: Workflow) -> Asset:
    """A training that the monitor asks for; events carry the training period's key, `as_of` and `reason`."""
    return _asset(workflow, "retrain_requested")


def _asset(workflow: Workflow, kind: str) -> Asset:
    return Asset(name=f"{workflow.name}/{kind}", uri=f"x-updraft://{workflow.name}/{kind}", group="updraft")

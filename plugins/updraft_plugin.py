"""The one file that Airflow's plugin scanner executes; `.airflowignore` hides the package beside it."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from updraft.ui import entry


class UpdraftPlugin(AirflowPlugin):
    """
    Registers Updraft with Airflow: it shows under Admin > Plugins, and its pages under Browse, on each Dag and each
    run.
    """

    name = "updraft"
    fastapi_apps = entry.fastapi_apps()
    external_views = entry.external_views()

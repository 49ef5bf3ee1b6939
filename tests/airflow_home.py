"""Airflow in this process: a home of its own per test run, set before anything imports Airflow."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from include.settings import PROJECT_ROOT

FOREIGN = ("AIRFLOW_", "UPDRAFT_", "MLFLOW_", "AWS_", "GX_", "PG", "OMP_")


def forget_foreign_settings() -> None:
    """Drop what the caller's shell says of Airflow, clouds and databases: the tests bring all of it themselves."""
    for name in [name for name in os.environ if name.upper().startswith(FOREIGN)]:
        del os.environ[name]


def use_temporary_airflow_home() -> None:
    """Point Airflow at an empty temporary home with a SQLite database; the folder goes when the process ends."""
    home = tempfile.mkdtemp(prefix="updraft-airflow-")
    owner = os.getpid()
    # Forked task processes run atexit handlers too: only the process that made the folder may remove it.
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(home, ignore_errors=True))
    os.environ.update(
        {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the tests that is long enough to sign with SHA-512, and "
            "nothing else",
        }
    )

"""`python -m embedded.setup airflow|mlflow`: create databases and schemas. Quick when there is nothing to do."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version

from embedded.databases import create_databases, database_uri
from embedded.home import Home, open_home, read_json, write_json

log = logging.getLogger("embedded.setup")


def set_up_airflow(home: Home) -> bool:
    """Migrate Airflow's schema; False if this version did so before in this very database."""
    create_databases(home)
    marker = home.airflow / "schema.json"
    installed = version("apache-airflow-core")
    if read_json(marker) == {"airflow": installed, "revision": _revision(home)}:
        return False
    from airflow.utils.db import upgradedb

    upgradedb()
    write_json(marker, {"airflow": installed, "revision": _revision(home)})
    return True


def set_up_mlflow(home: Home) -> bool:
    """Create or migrate MLflow's tables, so that no two processes try to at their first use."""
    create_databases(home)
    marker = home.run / "mlflow_schema.json"
    state = {
        "mlflow": version("mlflow"),
        "uri": database_uri(home, "mlflow").rpartition("@")[2],
        "revision": _revision(home, "mlflow"),
    }
    if state["revision"] and read_json(marker) == state:
        return False
    # Not public, but what `mlflow db upgrade` and the first use of a store call; the command line would show the
    # password.
    from mlflow.store.db.utils import _safe_initialize_tables, _upgrade_db
    from sqlalchemy import create_engine

    engine = create_engine(database_uri(home, "mlflow", driver="psycopg2"))
    _safe_initialize_tables(engine)
    _upgrade_db(engine)
    engine.dispose()
    write_json(marker, {**state, "revision": _revision(home, "mlflow")})
    return True


def _revision(home: Home, database: str = "airflow") -> str | None:
    import psycopg2

    connection = psycopg2.connect(database_uri(home, database))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('alembic_version')")
            row = cursor.fetchone()
            if row is None or row[0] is None:
                return None
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
            return None if row is None else str(row[0])
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Set one part up."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    set_up = {"airflow": set_up_airflow, "mlflow": set_up_mlflow}[arguments[0]]
    log.info("%s: %s", arguments[0], "set up" if set_up(open_home()) else "nothing to do")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

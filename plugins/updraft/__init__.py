"""Updraft's adapter to Airflow: operators, hooks, assets and `build_dags`. The work itself is done in `include`."""

"""The embedded default: a supervised PostgreSQL, Airflow and endpoint on one machine, and the demo."""

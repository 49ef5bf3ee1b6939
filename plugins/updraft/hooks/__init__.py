"""Hooks: what Airflow knows about the outside, in the form that `include` takes."""

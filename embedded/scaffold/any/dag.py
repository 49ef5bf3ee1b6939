"""
### $title

$question

*Triage:* start with the Dag that is red, from left to right: `ingest`, `train`, `deploy`, `monitor`. Clearing its failed task is safe.
"""

# an Airflow Dag file: the DAGs are built by build_dags
from include.workflows.$name.workflow import workflow
from updraft.dags import build_dags

build_dags(workflow, doc=__doc__)

"""
### Flight delays

Which flights will depart more than 15 minutes late? From the airline database, through Airflow, to an endpoint that
answers.

*Triage:* start with the Dag that is red, from left to right: `ingest`, `train`, `deploy`, `monitor`. A red Dag never
leaves half a partition or half a promotion behind, so clearing its failed task is safe.
"""

from include.workflows.flight_delays.workflow import workflow
from updraft.dags import build_dags

build_dags(workflow, doc=__doc__)

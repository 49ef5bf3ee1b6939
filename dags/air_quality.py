"""
### Air quality

Will Beijing's air be unhealthy 24 hours from now? From a station's readings over MQTT, through Airflow, to an endpoint
that answers.

*Triage:* start with the Dag that is red, from left to right: `ingest`, `train`, `deploy`, `monitor`. What the broker
delivered has landed before it was acknowledged, so clearing a failed task loses nothing. Readings that never came stand
in `ledger/incidents`.
"""

from include.workflows.air_quality.workflow import workflow
from updraft.dags import build_dags

build_dags(workflow, doc=__doc__)

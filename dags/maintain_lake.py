"""
### Maintain the lake

Every night: removes what surveys may keep no longer, merges small files, and removes those that nothing needs.

By hand, with *Dry run*, it only counts. It is safe beside running ingests: whoever meets the other's commit tries
again.

*Triage:* a red round loses nothing, for the next one makes up for it. Only a red `retention_…` is urgent: rows are kept
for too long.
"""

# an Airflow Dag file: the DAG is built in plugins/updraft/lake_dags.py
from include.workflows import declared_workflows
from updraft.lake_dags import build_maintain_lake

build_maintain_lake(declared_workflows(), doc=__doc__ or "")

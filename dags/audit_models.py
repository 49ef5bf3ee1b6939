"""
### Audit models

Every Sunday, for each workflow: rebuilds one of its older versions, picked at random, from its manifest, and checks
that record, stored files and rebuilt model agree.

*Triage:* a red `audit_…` names what differs; whom the workflow's alerts name was told. `reproduce_model` rebuilds any
version by hand.
"""

# an Airflow Dag file: the DAG is built in plugins/updraft/reproduce_dags.py
from include.workflows import declared_workflows
from updraft.reproduce_dags import build_audit_models

build_audit_models(declared_workflows(), doc=__doc__ or "")

"""
### Reproduce a model

Fits the version that the form names once more, from what its manifest says (the same rows, declaration, params and
seed), and compares the digests. Equal, or the task fails and names what differs. Nothing is registered or deployed by
it.

*Triage:* red: the message names what differs, or what is missing; `docs/reproducibility.md` tells what each means.
Clearing is always safe.
"""

# an Airflow Dag file: the DAG is built in plugins/updraft/reproduce_dags.py
from include.workflows import declared_workflows
from updraft.reproduce_dags import build_reproduce_model

build_reproduce_model(declared_workflows(), doc=__doc__ or "")

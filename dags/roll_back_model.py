"""
### Roll a model back

Withdraws the champion of the workflow that the form names, and lets the version answer again that it replaced, or the
one that the form names by number or by time. It needs no new evidence, but the version's bytes are verified; who did it
and why stands in `ledger/promotions`.

*Triage:* red: the message says why nothing was rolled back, or which endpoint does not answer. Clearing completes it,
and never goes back twice.
"""

# an Airflow Dag file: the DAG is built in plugins/updraft/roll_back_dags.py
from include.workflows import declared_workflows
from updraft.roll_back_dags import build_roll_back_model

build_roll_back_model(declared_workflows(), doc=__doc__ or "")

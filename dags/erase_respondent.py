"""
### Erase a respondent

Removes every answer of one person from a survey, in all tables and all their versions, keeps them out, and proves it.

The data officer computes the pseudonym where the key is (`python -m include.privacy <survey>`, which asks for the
identifier) and gives it to the form: the identifier never enters Airflow. The proof stands in `ledger/erasures` and in
the result of the task `erase`: rows by table before and after, files that were read afterwards, and the models that
were trained on the person, which have to be trained anew.

*Triage:* clear the failed task. If it says that files are in no version, an ingest is at work or was killed: try again
when it has ended.
"""

# an Airflow Dag file: the DAG is built in plugins/updraft/lake_dags.py
from include.workflows import declared_workflows
from updraft.lake_dags import build_erase_respondent

build_erase_respondent(declared_workflows(), doc=__doc__ or "")

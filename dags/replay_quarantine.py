"""
### Replay quarantine

After a suite is mended: judges what has landed again, publishes the rows that now pass, and asks no source. A partition
in which nothing changes is not touched. *Dry run*, in Airflow's trigger form, counts what would change.

*Triage:* `replay` red: its message names the partition or the field of the form. `require_published` red: some
partition is still stopped, and the message names the rule; all others are done. Clearing is always safe.
"""

# Airflow reads only files in which it finds its own name and the word Dag: the text above has both.
from include.workflows import declared_workflows
from updraft.replay_dags import build_replay_dag

build_replay_dag(declared_workflows(), doc=__doc__ or "")

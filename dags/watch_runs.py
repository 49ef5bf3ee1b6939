"""
### Watch the runs

Every minute: asks Airflow for failed and lost tasks, looks for partitions that should be there and are not, and tells
those whom the workflow names in `alerts`, once an incident, and once more when it is over. Set up who is told as
`docs/alerts.md` says.

*Triage:* a red round loses nothing, for the next one makes up for it. If all rounds are red, the log names the workflow
and the cause.
"""

from updraft.watch_dags import build_watch_dag

build_watch_dag(doc=__doc__ or "")

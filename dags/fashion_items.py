"""
### Fashion items

Which photographs show a shirt? From class folders, a folder a day, through Airflow, to an endpoint that answers for an
image's path.

*Triage:* start with the Dag that is red, from left to right: `ingest`, `train`, `deploy`, `monitor`. A red `ingest`
most often means that the day's folder has not been uploaded: put it there, and clear the task. A training reads the
images again: keep them.
"""

from include.workflows.fashion_items.workflow import workflow
from updraft.dags import build_dags

build_dags(workflow, doc=__doc__)

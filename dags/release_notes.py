"""
### Release notes

Which entries of SQLAlchemy's release notes are bug fixes? From the pages of its web site, through Airflow, to an
endpoint that answers.

*Triage:* start with the Dag that is red, from left to right: `ingest`, `train`, `deploy`, `monitor`. `ingest` asks the
site only where 'Ask the source' is switched on; everything that the site ever said is archived, so clearing a failed
task makes no request.
"""

from include.workflows.release_notes.workflow import workflow
from updraft.dags import build_dags

build_dags(workflow, doc=__doc__)

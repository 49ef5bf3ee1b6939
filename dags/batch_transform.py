"""
### Let a version answer files on S3

Starts a SageMaker batch transform: the champion, or the version that the form names, answers every file below a prefix,
and the job's machines end with it. For workflows that declare a `SageMakerEndpoint`; its connection, role and instance
type are used.

*Triage:* red: the message has SageMaker's own reason. If it says that the job is still at work, clear the task: it
finds its job again and starts no second one. SageMaker gives a job's name once, so after a failure name another output.
"""

# an Airflow Dag file: the DAG is built in plugins/updraft/transform_dags.py
from include.workflows import declared_workflows
from updraft.transform_dags import build_batch_transform

build_batch_transform(declared_workflows(), doc=__doc__ or "")

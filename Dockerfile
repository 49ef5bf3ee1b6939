# One image for every service of docker-compose.yaml: Airflow, Updraft's requirements as locked, the project itself.
# `docker build --target serving .` gives the one that Amazon SageMaker runs (docs/deployment.md).
# syntax=docker/dockerfile:1
FROM apache/airflow:3.3.2-python3.12 AS updraft

# The base image holds constraints of its own; ours is a complete lock, so that what was tested is what runs.
COPY --chown=airflow:root requirements.txt /opt/updraft/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /opt/updraft/requirements.txt

COPY --chown=airflow:root dags /opt/airflow/dags
COPY --chown=airflow:root plugins /opt/airflow/plugins
COPY --chown=airflow:root include /opt/airflow/include
COPY --chown=airflow:root config /opt/airflow/config
# Beside include/, where its digest is taken for the record of each decision.
COPY --chown=airflow:root requirements.txt /opt/airflow/requirements.txt

# include/ is no Airflow folder: it has to be on the path. config/ holds airflow_local_settings.py.
ENV PYTHONPATH=/opt/airflow:/opt/airflow/plugins:/opt/airflow/config \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    MLFLOW_DISABLE_TELEMETRY=true \
    GX_ANALYTICS_ENABLED=false \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1

# SageMaker starts it with the word `serve`, asks GET /ping and POST /invocations on port 8080, and has unpacked the model into
# /opt/ml/model. The same locked libraries as in training, so that a model is read by what wrote it.
FROM updraft AS serving
WORKDIR /opt/airflow
EXPOSE 8080
ENTRYPOINT ["python", "-m", "include.serving.container"]
CMD ["serve"]

# Last, for it is what `docker build .` and docker-compose.yaml build.
FROM updraft AS airflow

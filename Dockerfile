# One image for every service of docker-compose.yaml: Airflow, Updraft's requirements as locked, the project itself.
# syntax=docker/dockerfile:1
FROM apache/airflow:3.3.2-python3.12

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

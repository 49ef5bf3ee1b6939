"""What every task has in common: retries that outlast a restarting server, and none that would meet the same input."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from include.errors import (
    ConcurrentWriteError,
    EndpointUnavailableError,
    RegistryUnavailableError,
    SourceUnavailableError,
    UpdraftError,
)

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            ConcurrentWriteError,
            RetryAction.RETRY,
            timedelta(seconds=10),
            "another writer won; the next try sees its state",
        ),
        RetryRule(
            [SourceUnavailableError, RegistryUnavailableError, EndpointUnavailableError],
            RetryAction.RETRY,
            reason="the server is down, not wrong",
        ),
        RetryRule(UpdraftError, RetryAction.FAIL, reason="a retry would meet the same input"),
    ]
)

# 10 s, doubled five times: five minutes in all outlast a restart of the API server or of the database, and what passes
# soon waits little.
TASK_DEFAULTS: dict[str, Any] = {
    "owner": "updraft",
    "retries": 6,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": RETRY_POLICY,
    "execution_timeout": timedelta(hours=1),
}

RUN_TIMEOUT = timedelta(days=1)

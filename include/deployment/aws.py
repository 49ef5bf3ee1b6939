"""
Access to AWS: credentials that somebody hands over, or boto3's own chain; and its errors in Updraft's words.

Nothing secret is in a repr, a message or a log line here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from include.errors import DeploymentError, EndpointUnavailableError

CONNECT_SECONDS, READ_SECONDS = 5, 70  # a model container may take 60 s to answer
_PASSING = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
        "InternalFailure",
        "InternalError",
        "InternalServerError",
        "ServiceUnavailable",
        "RequestTimeout",
        "ModelNotReadyException",
        "ResourceInUse",
    }
)


@dataclass(frozen=True, kw_only=True)
class AwsAccess:
    """
    Keys and addresses. Without keys boto3 looks for its own: environment, profile, role of the machine.

    `endpoint_urls` maps a service ('s3', 'sagemaker', 'sagemaker-runtime', 'cloudwatch') to another address than AWS's
    own, such as a VPC endpoint's; the key '*' stands for all others.
    """

    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint_urls: Mapping[str, str] = field(default_factory=dict)

    def client(self, service: str, region: str) -> Any:
        """A client of one service, with bounds on every wait."""
        import boto3
        from botocore.config import Config

        session = boto3.session.Session(
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            aws_session_token=self.session_token,
            region_name=region,
        )
        url = self.endpoint_urls.get(service) or self.endpoint_urls.get("*")
        retries = {"mode": "standard", "total_max_attempts": 4}
        config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries=retries)
        return session.client(service, endpoint_url=url, config=config)


@contextmanager
def aws_errors(action: str) -> Iterator[None]:
    """
    Tell AWS's errors in Updraft's words.

    Raises
    ------
    EndpointUnavailableError
        If AWS does not answer, or asks to come back later.
    DeploymentError
        If it refuses: the message has AWS's own reason.

    """
    from botocore import exceptions as aws

    try:
        yield
    except aws.ClientError as error:
        kind = EndpointUnavailableError if code_of(error) in _PASSING else DeploymentError
        remedy = (
            "try again" if kind is EndpointUnavailableError else "see docs/deployment.md for the rights that it needs"
        )
        raise kind(f"AWS does not {action}: {code_of(error)}: {reason_of(error)} ({remedy})") from None
    except (aws.NoCredentialsError, aws.PartialCredentialsError):
        message = "name an Airflow connection of type 'aws' (conn_id), or give the workers a role"
        raise DeploymentError(f"there are no AWS credentials to {action}: {message}") from None
    except (aws.HTTPClientError, aws.ConnectionError) as error:
        raise EndpointUnavailableError(
            f"AWS does not answer when asked to {action} ({type(error).__name__}): is it reachable?"
        ) from None
    except aws.BotoCoreError as error:
        raise DeploymentError(f"cannot {action}: {type(error).__name__}: {str(error)[:300]}") from None


def code_of(error: Any) -> str:
    """AWS's code of a ClientError."""
    return str(error.response.get("Error", {}).get("Code", ""))


def reason_of(error: Any) -> str:
    """AWS's reason of a ClientError, cut to a line."""
    return " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:300]

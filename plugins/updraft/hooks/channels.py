"""From Airflow's connections to the channels of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from include.errors import ChannelError

if TYPE_CHECKING:
    from include.alerts.letter import Channel


def channel_of(conn_id: str) -> Channel:
    """
    The channel that a connection describes. What is secret in it stays in this process.

    :param conn_id: id of an Airflow connection
    :raises ChannelError: if there is no such connection, or no channel for its type
    """
    from include.alerts.channels import open_channel
    from include.alerts.letter import ChannelSettings

    try:
        found = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ChannelError(
            f"there is no Airflow connection {conn_id!r} that can be read: add it under Admin > Connections, "
            f"or set AIRFLOW_CONN_{conn_id.upper()} to a URI or JSON"
        ) from None
    return open_channel(
        ChannelSettings(
            name=conn_id,
            conn_type=str(found.conn_type),
            host=found.host or "",
            port=found.port,
            login=found.login or "",
            password=found.password or "",
            schema=found.schema or "",
            extra=found.extra_dejson,
        )
    )

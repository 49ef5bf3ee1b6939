"""
Sensors over MQTT: drain the broker's queue into the lake, and make rows of what has landed.

    broker --QoS 1--> drain --one commit a batch--> <name>/messages --payloads--> rows of a partition
                        `-- acknowledge, after the commit
"""

from include.sources.sensor.collection import collect, ensure_session
from include.sources.sensor.rows import open_rows

__all__ = ["collect", "ensure_session", "open_rows"]

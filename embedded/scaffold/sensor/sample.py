"""
Publish a sample to a broker: `python -m include.workflows.$name.sample mqtt://127.0.0.1:1883`.

Run the ingest Dag once before: a broker keeps nothing for a client that it does not know.
"""

import json
import queue
import sys
from typing import Any
from urllib.parse import unquote, urlsplit

from include.workflows.$name.sample_rows import sample_days, sample_rows


def publish_sample(uri: str) -> int:
    """Publish the sample with QoS 1, and return how many messages the broker has taken."""
    import paho.mqtt.client as mqtt

    address = urlsplit(uri)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="$name-sample", protocol=mqtt.MQTTv311)
    if address.username:
        client.username_pw_set(unquote(address.username), unquote(address.password or ""))
    client.max_queued_messages_set(0)
    answers: queue.Queue[Any] = queue.Queue()
    client.on_connect = lambda client, userdata, flags, reason, properties: answers.put(reason)
    client.connect(address.hostname or "127.0.0.1", address.port or 1883)
    client.loop_start()
    if (reason := answers.get(timeout=30)).is_failure:
        raise SystemExit(f"the broker at {address.hostname} does not let us in: {reason}")
    rows = [{"device": "d1", **row} for day in sample_days() for row in sample_rows(day)]
    sent = [client.publish("$name/d1/events", json.dumps(row, default=str), qos=1) for row in rows]
    for message in sent:
        message.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()
    return sum(message.is_published() for message in sent)


if __name__ == "__main__":
    sys.stdout.write(f"{publish_sample(sys.argv[1])} messages\n")

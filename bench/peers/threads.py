"""confluent-kafka, a pool of threads, and an httpx client for each thread.

It waits for all calls of a flush before it reads on. So one user's calls keep their order, and a slow one holds up all.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from confluent_kafka import Consumer

from bench.peers.common import AT_ONCE, HEADERS, IN_FLIGHT, OK, RETRY_SECONDS, Window, body, done, say, settings

_local = threading.local()
_tls = httpx.create_ssl_context()  # one for all clients: making one takes longer than hundreds of calls


def send(user: tuple[str, dict[str, Any]]) -> None:
    """One call, again and again until it succeeds."""
    client = getattr(_local, "client", None)
    if client is None:
        client = _local.client = httpx.Client(headers=HEADERS, timeout=10, verify=_tls)
    content = body(*user)
    while True:
        try:
            if client.post(settings.url, content=content).status_code == OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(RETRY_SECONDS)


def main() -> None:
    """Reads the topic to its end, and commits what was answered by a success."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.brokers,
            "group.id": settings.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.subscribe([settings.topic], on_assign=lambda *_: say("assigned"))
    window = Window()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        while window.users or not window.at_the_end:
            for message in consumer.consume(AT_ONCE, 0.1) if not window.at_the_end else ():
                if message.error() is None:
                    window.add(message.value() or b"")
            if window.due:
                list(pool.map(send, window.take().items()))
                consumer.commit(asynchronous=False)
    done()


main()

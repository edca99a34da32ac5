"""aiokafka and aiohttp in one event loop.

It waits for all calls of a flush before it reads on. So one user's calls keep their order, and a slow one holds up all.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import aiokafka

from bench.peers.common import AT_ONCE, HEADERS, IN_FLIGHT, OK, RETRY_SECONDS, Window, body, done, say, settings


class Assignments(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]  # not installed where types are checked
    """Tells of the assignment."""

    async def on_partitions_assigned(self, assigned: object) -> None:
        """It may fetch from now on."""
        if assigned:
            say("assigned")

    async def on_partitions_revoked(self, revoked: object) -> None:
        """The interface wants it."""


async def send(session: aiohttp.ClientSession, phone: str, attributes: dict[str, Any]) -> None:
    """One call, again and again until it succeeds."""
    content = body(phone, attributes)
    while True:
        try:
            async with session.post(settings.url, data=content, headers=HEADERS) as response:
                await response.read()
                if response.status == OK:
                    return
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(RETRY_SECONDS)


async def flush(session: aiohttp.ClientSession, users: dict[str, dict[str, Any]]) -> None:
    """All users' calls, so many at a time."""
    left = iter(users.items())

    async def caller() -> None:
        for phone, attributes in left:
            await send(session, phone, attributes)

    await asyncio.gather(*(caller() for _ in range(min(IN_FLIGHT, len(users)))))


async def main() -> None:
    """Reads the topic to its end, and commits what was answered by a success."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=settings.brokers,
        group_id=settings.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    consumer.subscribe([settings.topic], listener=Assignments())
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    timeout = aiohttp.ClientTimeout(total=10)
    window = Window()
    await consumer.start()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        while window.users or not window.at_the_end:
            batches = await consumer.getmany(timeout_ms=100, max_records=AT_ONCE) if not window.at_the_end else {}
            for records in batches.values():
                for record in records:
                    window.add(record.value)
            if window.due:
                await flush(session, window.take())
                await consumer.commit()
    done()


asyncio.run(main())

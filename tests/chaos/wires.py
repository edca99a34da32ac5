"""The thread with the event loop that runs the destination and all proxies of a run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.chaos.destination import Destination
from tests.chaos.link import Link
from tests.chaos.plan import NODES, SLOT_COUNT

_SECONDS = 20.0

Result = TypeVar("Result")


class Wires:
    """All proxies of a run. Each slot has its own link to each broker and to the destination, to cut one worker off.

    `call` runs a function in the event loop's thread and waits for it.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.brokers = [[Link() for _ in range(NODES)] for _ in range(SLOT_COUNT)]
        self.destinations = [Link() for _ in range(SLOT_COUNT)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires", daemon=True)
        self._thread.start()
        self._await(self._listen())

    def call(self, act: Callable[[], Result]) -> Result:
        async def acted() -> Result:
            return act()

        return self._await(acted())

    def close(self) -> None:
        def close_all() -> None:
            for link in self._links():
                link.close()
            self.destination.close()
            for task in asyncio.all_tasks(self._loop):
                if task is not asyncio.current_task(self._loop):
                    task.cancel()

        self.call(close_all)
        self._await(asyncio.sleep(0.1))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    def _links(self) -> list[Link]:
        return [*self.destinations, *(link for slot in self.brokers for link in slot)]

    async def _listen(self) -> None:
        await self.destination.listen()
        for link in self._links():
            await link.listen()
        for link in self.destinations:
            link.lead_to(f"127.0.0.1:{self.destination.port}")

    def _await(self, awaited: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(_SECONDS)

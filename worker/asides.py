"""Blocking calls beside an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_daemon_thread(call: Callable[[], Result]) -> Result:
    """Makes a blocking call, such as a name lookup, in a daemon thread.

    The loop's own executor has threads that Python waits for at its exit: a process that is asked to stop, or a `check`
    that has said its last word, would hang until the name server answers.

    Raises:
        Exception: Whatever `call` raises.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Result] = loop.create_future()

    def settle(results: list[Result], error: Exception | None) -> None:
        if outcome.done():  # nobody waits any more
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(results[0])

    def work() -> None:
        results: list[Result] = []
        error: Exception | None = None
        try:
            results.append(call())
        except Exception as raised:  # noqa: BLE001 - raised again where it is awaited
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, results, error)

    threading.Thread(target=work, name="aside", daemon=True).start()
    return await outcome

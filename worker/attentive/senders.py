"""Sends the calls: one thread with an asyncio loop, and in it one task per request.

Why not one thread per request: a thread in a blocking read cannot be cancelled. A task can, at any await. So one
deadline bounds the name lookup, the connection, and a head or a body that drips.

The main thread owns the set of calls in flight, the loop's thread owns the connections. Calls go in by
`call_soon_threadsafe`, replies come out by a queue, and so there is no lock. Only an abort cannot wait for a queue: the
main thread notes the calls that it cuts, and the loop's thread looks at these notes right before it writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from worker.attentive import request
from worker.attentive.message import Message
from worker.attentive.replies import reply_of
from worker.attentive.token import Token
from worker.attentive.transport import Transport, endpoint
from worker.clocks import boot_clock
from worker.core.model import Call, Failure, Reply

_Outcome = tuple[Call, Reply]


class SendersStoppedError(RuntimeError):
    """A bug ended the loop's thread. The text says which exception and where, without any value."""


class Senders:
    """Makes calls, at most `concurrency` at a time. Every method is called from one thread.

    Each submitted call comes back exactly once from `replies`, whatever happens to it.
    """

    def __init__(
        self,
        base_url: str,
        token: Token,
        *,
        concurrency: int,
        user_agent: str,
        connection_age_max_seconds: float,
        may_send: Callable[[], bool] = lambda: True,
        write_by: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """Connects to nothing before the first call.

        Args:
            base_url: the API's base, with its version: `https://api.attentivemobile.com/v1`.
            token: read for every call.
            concurrency: calls that may be in flight together, at least 1.
            user_agent: the User-Agent header.
            connection_age_max_seconds: a connection that is older takes no further call; the next one looks the host's
                name up anew.
            may_send: called in the loop's thread right before a request is written. If it returns False, nothing is
                written, and the reply is `Failure.ABORTED`.
            write_by: asked by `submit`. A request that is not written by then is not written at all, as if `may_send`
                were false. By `boot_clock`, which counts while the machine is suspended.

        Raises:
            ValueError: `base_url` is not a base URL, or the environment names a proxy or certificate file that cannot
                be used. The text names the variable, without a secret.
        """
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self._url = endpoint(base_url, request.ATTRIBUTES_PATH)
        self._token = token
        self._concurrency = concurrency
        self._user_agent = user_agent
        self._may_send = may_send
        self._write_by = write_by
        self._transport = Transport(age_max_seconds=connection_age_max_seconds)
        self._transport.prove(self._url)
        self._in_flight: set[Call] = set()
        self._cut: set[Call] = set()  # aborted, not ended yet. Only the main thread changes it
        self._finished: queue.SimpleQueue[_Outcome | None] = queue.SimpleQueue()  # None: the thread has ended
        self._tasks: dict[Call, asyncio.Task[Reply]] = {}
        self._loop = asyncio.new_event_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._fault: str | None = None
        self._thread = threading.Thread(target=self._serve, name="senders", daemon=True)

    def __repr__(self) -> str:
        return f"Senders(in_flight={len(self._in_flight)}, concurrency={self._concurrency})"

    @property
    def free(self) -> int:
        """How many calls may be submitted now. A call counts as in flight until `replies` has returned it."""
        return self._concurrency - len(self._in_flight)

    def start(self) -> None:
        """Starts the thread. Once only."""
        self._thread.start()

    def submit(self, call: Call) -> None:
        """Sends a call; its reply comes from `replies`.

        The call's `timeout_seconds` begins here, not when the loop's thread starts the task.

        Raises:
            RuntimeError: `free` is 0 (the caller must look at it first), or the thread is not running.
            SendersStoppedError: a bug has ended the thread.
            ValueError: the call cannot be written as JSON; see `request.body`.
        """
        if self.free < 1:
            raise RuntimeError(f"all {self._concurrency} senders are in use")
        if self._fault is not None:
            raise SendersStoppedError(self._fault)
        if not self._thread.is_alive():
            raise RuntimeError("the senders are not running")
        token = self._token.value()
        if token is None:
            self._in_flight.add(call)
            self._finished.put((call, Reply(None, Failure.NO_TOKEN)))
            return
        message = request.upsert(self._url, call, token, self._user_agent)
        self._in_flight.add(call)
        self._tell(self._begin, call, message, time.monotonic(), self._write_by())

    def replies(self, wait_seconds: float = 0) -> list[tuple[Call, Reply]]:
        """The calls that ended since the last `replies`, in the order in which they ended.

        If there is none yet, waits up to `wait_seconds` for the first.

        Raises:
            SendersStoppedError: a bug has ended the thread. The calls in flight get no reply.
        """
        outcomes: list[_Outcome] = []
        try:
            while True:
                waits = wait_seconds > 0 and not outcomes and bool(self._in_flight) and self._fault is None
                outcome = self._finished.get(waits, wait_seconds if waits else None)
                if outcome is None:
                    break
                self._in_flight.discard(outcome[0])
                self._cut.discard(outcome[0])
                outcomes.append(outcome)
        except queue.Empty:
            pass
        if self._fault is not None and not outcomes:
            raise SendersStoppedError(self._fault)
        return outcomes

    def abort(self, calls: Iterable[Call]) -> None:
        """Cuts calls short. Their replies are `Failure.ABORTED`, unless they had just ended.

        From now on nothing of them is written, even if the loop's thread has not run yet. The race: the process was
        frozen, and its lease ran out. The main thread drops the old assignment, aborts its calls, begins a new lease.
        Now `may_send` is true again, and the task of an old call is about to write.
        """
        cut = [call for call in calls if call in self._in_flight]
        self._cut.update(cut)
        self._tell(self._cancel, cut)

    def close(self, timeout_seconds: float) -> bool:
        """Aborts what is in flight and ends the thread. Replies can still be fetched afterwards.

        Returns:
            Whether the thread has ended in time. If not, it does not keep the process alive: it is a daemon.
        """
        if self._thread.ident is None:  # never started
            self._loop.close()
            return True
        self._tell(self._stop, None)
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _tell(self, act: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed. If a bug closed it, `replies` raises
            self._loop.call_soon_threadsafe(act, *arguments)

    # From here on: the loop's thread.

    def _serve(self) -> None:
        fault: BaseException | None = None
        self._loop.set_exception_handler(self._on_loop_error)
        try:
            self._loop.run_until_complete(self._until_stopped())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the main thread must learn of it
            fault = error
        finally:
            # Not `asyncio.run`: at its end it waits for the lookup threads, and one of these may hang.
            self._loop.close()
            self._fault = None if fault is None else _describe(fault)
            self._finished.put(None)

    async def _until_stopped(self) -> None:
        try:
            await self._end
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._transport.aclose()
            await self._loop.shutdown_asyncgens()

    def _begin(self, call: Call, message: Message, started: float, write_by: float) -> None:
        if self._end.done():  # the race: a bug stops the thread just as the main thread submits
            return
        task = self._loop.create_task(self._make(call, message, started, write_by))
        self._tasks[call] = task
        task.add_done_callback(functools.partial(self._ended, call))

    async def _make(self, call: Call, message: Message, started: float, write_by: float) -> Reply:
        came = await self._transport.exchange(
            message,
            deadline=started + call.timeout_seconds,
            # Keep this order. The main thread cuts calls, then begins a new lease. If we see the lease, we see the cut.
            may_send=lambda: boot_clock() <= write_by and self._may_send() and call not in self._cut,
        )
        return reply_of(came, sent=message.private, now_seconds=time.time(), seconds=self._loop.time() - started)

    def _ended(self, call: Call, task: asyncio.Task[Reply]) -> None:
        # A callback, not a `finally` in the task: a task that is cancelled before its first step runs no code at all.
        del self._tasks[call]
        if task.cancelled():
            self._finished.put((call, Reply(None, Failure.ABORTED)))
        elif (error := task.exception()) is not None:
            self._stop(error)
        else:
            self._finished.put((call, task.result()))

    def _cancel(self, calls: list[Call]) -> None:
        for call in calls:
            if call in self._tasks:
                self._tasks[call].cancel()

    def _stop(self, error: BaseException | None) -> None:
        if self._end.done():
            return
        if error is None:
            self._end.set_result(None)
        else:
            self._end.set_exception(error)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Stops the thread if a callback raised: the callback's call would never get a reply."""
        error = context.get("exception")
        if isinstance(error, Exception) and not context.keys().isdisjoint(("handle", "protocol")):
            self._stop(error)
        else:
            loop.default_exception_handler(context)


def _describe(error: BaseException) -> str:
    """What and where, without the exception's text, which may quote what was being sent."""
    places = "".join(traceback.format_tb(error.__traceback__))
    return f"the senders' thread ended by {type(error).__name__} at\n{places}"

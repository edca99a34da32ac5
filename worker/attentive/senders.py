"""The requests in flight: one thread with an asyncio loop, and a task for each.

Why a loop and not a thread for each request: a task can be cancelled at any await, so that one deadline bounds name
resolution, connection, a header that drips and a body that drips. A thread in a blocking read cannot be.

The main thread owns what is in flight; the loop's thread owns the connections. They meet in the loop's own queue on the
way in and in one queue on the way out, so that no lock is needed. The one thing that must not wait for a queue is an
abort: the loop's thread looks itself, before it writes, whether the call was cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
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
from worker.core.model import Call, Failure, Reply

_Outcome = tuple[Call, Reply]


class SendersStoppedError(RuntimeError):
    """The loop's thread ended by an exception that no request should raise. Its text is where, never a value."""


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
    ) -> None:
        """Prepares; no connection is made before the first call.

        Args:
            base_url: the API's base, with its version: `https://api.attentivemobile.com/v1`.
            token: read for every call.
            concurrency: calls that may be in flight together, at least 1.
            user_agent: the User-Agent header.
            connection_age_max_seconds: a connection that is older takes no further call; the next one looks the host's
                name up anew.
            may_send: asked from the loop's thread right before a request is written; where it says no, the request is
                not, and its reply is `Failure.ABORTED`.

        Raises:
            ValueError: a base URL that is none, or a proxy or certificate file in the environment that cannot be used;
                the text names the variable, without a secret.
        """
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self._url = endpoint(base_url, request.ATTRIBUTES_PATH)
        self._token = token
        self._concurrency = concurrency
        self._user_agent = user_agent
        self._may_send = may_send
        self._transport = Transport(age_max_seconds=connection_age_max_seconds)
        self._transport.prove(self._url)
        self._in_flight: set[Call] = set()
        self._cut: set[Call] = set()  # written by the main thread alone
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
        """Calls that may be submitted now. A call counts until `replies` has handed it back."""
        return self._concurrency - len(self._in_flight)

    def start(self) -> None:
        """Starts the thread. Once only."""
        self._thread.start()

    def submit(self, call: Call) -> None:
        """Sends a call; its reply comes from `replies`.

        The call's `timeout_seconds` begins here, not when the loop gets round to it.

        Raises:
            RuntimeError: none is free (`free` is the caller's to look at), or not running.
            SendersStoppedError: the thread has ended by a bug.
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
        self._tell(self._begin, call, message, time.monotonic())

    def replies(self, wait_seconds: float = 0) -> list[tuple[Call, Reply]]:
        """The calls that finished since the last look, in the order they did.

        Waits up to `wait_seconds` for the first where there is none yet.

        Raises:
            SendersStoppedError: the thread has ended by a bug. What was in flight has no reply.
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
        """Cuts calls short; their replies come as `Failure.ABORTED`, unless they had just finished.

        Nothing of them is written from now on, not even while the loop's thread has not heard of it: a process that
        slept drops its old assignment and begins a new lease, under which the old calls must not go out.
        """
        cut = [call for call in calls if call in self._in_flight]
        self._cut.update(cut)
        self._tell(self._cancel, cut)

    def close(self, timeout_seconds: float) -> bool:
        """Aborts what is in flight and ends the thread. Replies can still be fetched afterwards.

        Returns:
            Whether the thread has ended in time. It is a daemon and keeps no process alive.
        """
        if self._thread.ident is None:  # never started
            self._loop.close()
            return True
        self._tell(self._stop, None)
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _tell(self, act: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed; if by a bug, `replies` says so
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
            # Not `asyncio.run`: it would wait for a name resolution that hangs in a thread of its own.
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

    def _begin(self, call: Call, message: Message, started: float) -> None:
        if self._end.done():  # a fault stops the thread while the main thread submits
            return
        task = self._loop.create_task(self._make(call, message, started))
        self._tasks[call] = task
        task.add_done_callback(functools.partial(self._ended, call))

    async def _make(self, call: Call, message: Message, started: float) -> Reply:
        came = await self._transport.exchange(
            message,
            deadline=started + call.timeout_seconds,
            # In this order: calls are cut before a new lease begins, so whoever sees the new one sees the cut.
            may_send=lambda: self._may_send() and call not in self._cut,
        )
        return reply_of(came, now_seconds=time.time(), seconds=self._loop.time() - started)

    def _ended(self, call: Call, task: asyncio.Task[Reply]) -> None:
        # Here and not in the task: one that is cancelled before its first step never runs.
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
        """A callback that raised would leave its call without a reply: stop instead."""
        error = context.get("exception")
        if isinstance(error, Exception) and not context.keys().isdisjoint(("handle", "protocol")):
            self._stop(error)
        else:
            loop.default_exception_handler(context)


def _describe(error: BaseException) -> str:
    """What and where, without the exception's text, which may quote what was being sent."""
    places = "".join(traceback.format_tb(error.__traceback__))
    return f"the senders' thread ended by {type(error).__name__} at\n{places}"

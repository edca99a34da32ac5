"""Makes the calls: each is a request in an asyncio loop, which the main thread turns.

There is no thread, and so no lock and no race. `submit` writes a call at once if a connection is idle. Whatever else is
to do, `replies` does: it turns the loop, until a call has ended or its time is up. An asyncio loop and not a blocking
request, because a request can be cancelled wherever it is: one deadline bounds the name's lookup, the connection, and a
head or a body that drips. Between two `replies` nothing happens, so call it often.
"""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from worker.attentive import request
from worker.attentive.connection import Received
from worker.attentive.message import Message
from worker.attentive.replies import reply_of
from worker.attentive.token import Token
from worker.attentive.transport import Transport, endpoint, outcome
from worker.clocks import boot_clock
from worker.core.model import Call, Failure, Reply


class SendersStoppedError(RuntimeError):
    """A bug ended the senders. The text says which exception and where, without any value."""


class Senders:
    """Makes calls, at most `concurrency` at a time. Every method is called from one thread.

    Each submitted call comes back exactly once from `replies`, whatever happens to it.

        senders.submit(call)
        senders.replies(0.1)  # [(call, Reply(status=200, ...))]
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
            may_send: called right before a request is written. If it returns False, nothing is written, and the reply
                is `Failure.ABORTED`.
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
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._on_loop_error)
        self._transport = Transport(self._loop, age_max_seconds=connection_age_max_seconds)
        try:
            self._transport.prove(self._url)
        except ValueError:
            self._loop.close()
            raise
        self._in_flight: dict[Call, asyncio.Future[Received] | None] = {}  # None: it has ended without a request
        self._ended: list[tuple[Call, Reply]] = []
        self._waits = False
        self._fault: BaseException | None = None

    def __repr__(self) -> str:
        return f"Senders(in_flight={len(self._in_flight)}, concurrency={self._concurrency})"

    @property
    def free(self) -> int:
        """How many calls may be submitted now. A call counts as in flight until `replies` has returned it."""
        return self._concurrency - len(self._in_flight)

    def submit(self, call: Call) -> None:
        """Sends a call; its reply comes from `replies`. The call's `timeout_seconds` begins here.

        Raises:
            RuntimeError: `free` is 0 (the caller must look at it first), or the senders are closed.
            SendersStoppedError: a bug has ended the senders.
            ValueError: the call cannot be written as JSON; see `request.body`.
        """
        if self.free < 1:
            raise RuntimeError(f"all {self._concurrency} senders are in use")
        self._raise_fault()
        if self._loop.is_closed():
            raise RuntimeError("the senders are closed")
        token = self._token.value()
        if token is None:
            self._in_flight[call] = None
            self._ended.append((call, Reply(None, Failure.NO_TOKEN)))
            return
        message = request.upsert(self._url, call, token, self._user_agent)
        started, write_by = self._loop.time(), self._write_by()
        begun = self._transport.begin(
            message,
            deadline=started + call.timeout_seconds,
            may_send=lambda: boot_clock() <= write_by and self._may_send(),
        )
        self._in_flight[call] = begun
        begun.add_done_callback(partial(self._take, call, message, started))

    def rest(self, seconds: float) -> None:
        """Lets requests go on for so long. What ends meanwhile waits for `replies`."""
        timer = self._loop.call_later(seconds, self._loop.stop)
        self._loop.run_forever()
        timer.cancel()

    def replies(self, wait_seconds: float = 0) -> list[tuple[Call, Reply]]:
        """The calls that ended since the last `replies`, in the order in which they ended.

        If there is none yet, waits up to `wait_seconds` for the first.

        Raises:
            SendersStoppedError: a bug has ended the senders. The calls in flight get no reply.
        """
        if not self._ended and not self._loop.is_closed():
            self._turn()
            if wait_seconds > 0 and self._in_flight and not self._ended and self._fault is None:
                self._wait(wait_seconds)
        ended, self._ended = self._ended, []
        for call, _ in ended:
            del self._in_flight[call]
        if not ended:
            self._raise_fault()
        return ended

    def abort(self, calls: Iterable[Call]) -> None:
        """Cuts calls short: from now on nothing of them is written.

        Their replies are `Failure.ABORTED`, unless they had just ended.
        """
        for call in calls:
            begun = self._in_flight.get(call)
            if begun is not None:
                begun.cancel()

    def close(self) -> None:
        """Aborts what is in flight, and closes every connection. Replies can still be fetched afterwards."""
        if self._loop.is_closed():
            return
        self.abort(list(self._in_flight))
        self._loop.run_until_complete(self._close())
        self._turn()
        self._loop.close()

    async def _close(self) -> None:
        begun = [each for each in self._in_flight.values() if each is not None]
        await asyncio.gather(*begun, return_exceptions=True)
        await self._transport.aclose()

    def _turn(self) -> None:
        """Does what can be done without waiting: reads what has come, and takes it."""
        # Two passes: the first reads, and what it completes is taken in the second.
        self._loop.call_soon(self._loop.call_soon, self._loop.stop)
        self._loop.run_forever()

    def _wait(self, seconds: float) -> None:
        self._waits = True
        self.rest(seconds)
        self._waits = False

    def _take(self, call: Call, message: Message, started: float, ended: asyncio.Future[Received]) -> None:
        if ended.cancelled():
            reply = Reply(None, Failure.ABORTED)
        else:
            seconds = self._loop.time() - started
            reply = reply_of(outcome(ended), asked=message, now_seconds=time.time(), seconds=seconds)
        self._ended.append((call, reply))
        if self._waits:
            self._loop.stop()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised: a bug, and its call would never get a reply."""
        error = context.get("exception")
        if isinstance(error, Exception) and not context.keys().isdisjoint(("handle", "protocol")):
            self._fault = self._fault or error
            loop.stop()
        else:
            loop.default_exception_handler(context)

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise SendersStoppedError(_describe(self._fault)) from None


def _describe(error: BaseException) -> str:
    """What and where, without the exception's text, which may quote what was being sent."""
    places = "".join(traceback.format_tb(error.__traceback__))
    return f"the senders ended by {type(error).__name__} at\n{places}"

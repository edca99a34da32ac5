"""Asks the destination what it holds of users: one user a request, several requests at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from worker.attentive import request
from worker.attentive.account import Account, Problem, whoami
from worker.attentive.message import Message
from worker.attentive.replies import reply_of
from worker.attentive.token import Token
from worker.attentive.transport import Transport, endpoint
from worker.core.model import Failure, Reply, User

_LOOK_SECONDS: Final = 0.1  # how often it looks whether to stop


class Lookups:
    """The way to the read endpoint. A plain object of one thread: `ask` returns when all its requests have ended.

    Example:
        >>> lookups.ask([User(phone="+13115552368")], lambda: False)
        [Reply(status=200, ...)]
    """

    def __init__(
        self,
        base_url: str,
        token: Token,
        *,
        user_agent: str,
        timeout_seconds: float,
        connection_age_max_seconds: float,
    ) -> None:
        """Connects to nothing.

        Raises:
            ValueError: `base_url` is not a base URL, or the environment names a proxy or certificate file that cannot
                be used. The text names the variable, without a secret.
        """
        self._base_url = base_url
        self._url = endpoint(base_url, request.ATTRIBUTES_PATH)
        self._token = token
        self._user_agent = user_agent
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.new_event_loop()
        self._transport = Transport(self._loop, age_max_seconds=connection_age_max_seconds)
        self._transport.prove(self._url)

    def ask(self, users: Sequence[User], stopped: Callable[[], bool]) -> list[Reply]:
        """A reply for each user, in their order. Each user has a phone or an email.

        Once `stopped` is true, those that did not answer yet are cut short: their replies are `Failure.ABORTED`.
        """
        token = self._token.value()
        if token is None:
            return [Reply(None, Failure.NO_TOKEN, cause=self._token.problem or "") for _ in users]
        messages = [request.lookup(self._url, user, token, self._user_agent) for user in users]
        return self._loop.run_until_complete(self._ask(messages, stopped))

    def problem(self) -> str | None:
        """What is wrong with the token or the base URL, and how to mend it, by `GET /me`. None if both are right.

        It takes as long as a request may.
        """
        answer = whoami(self._base_url, self._token, self._timeout_seconds, user_agent=self._user_agent)
        match answer:
            case Account():
                return None
            case Problem(what, mend):
                return f"{what}; {mend}"

    def close(self) -> None:
        """Closes every connection."""
        self._loop.run_until_complete(self._transport.aclose())
        self._loop.close()

    async def _ask(self, messages: Sequence[Message], stopped: Callable[[], bool]) -> list[Reply]:
        tasks = [self._loop.create_task(self._exchange(message)) for message in messages]
        waiting = set(tasks)
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=_LOOK_SECONDS)
            if waiting and stopped():
                for task in waiting:
                    task.cancel()
        return [Reply(None, Failure.ABORTED) if task.cancelled() else task.result() for task in tasks]

    async def _exchange(self, message: Message) -> Reply:
        began = self._loop.time()
        came = await self._transport.exchange(message, deadline=began + self._timeout_seconds, may_send=lambda: True)
        return reply_of(came, asked=message, now_seconds=time.time(), seconds=self._loop.time() - began)

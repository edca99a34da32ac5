"""Tokens for SASL/OAUTHBEARER from a function of the user's own, which `WORKER_KAFKA__OAUTH` names.

librdkafka asks for one when a client is made, and before the latest expires, inside `poll`. A function that raises,
hangs or answers nonsense must neither end that poll nor hold it up. Nor may a client be told that there is none: its
constructor would wait for ten seconds, then raise. So it gets the latest token again, or one that no broker takes; both
for a few seconds, after which librdkafka asks again.
"""

from __future__ import annotations

import importlib
import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

import structlog

from worker.logs import LogLimiter

_WAIT_SECONDS: Final = 5.0
_RENEWAL_SECONDS: Final = 0.5  # while the latest token is good, nobody need wait long for the next
_AGAIN_SECONDS: Final = 10.0
_NO_TOKEN: Final = "none"  # noqa: S105 - it is none
_AHEAD_SECONDS: Final = 10 * 365 * 86_400
_log = structlog.get_logger("worker.kafka")

Token: TypeAlias = tuple[str, float]
"""The token, and when it expires in seconds since 1970."""


class NoToken(Exception):
    """There is no token now. The message says why, without what the function said: that may hold a secret."""


class TokenFunction:
    """What librdkafka calls: the function of this name, in a thread of its own and for so long at most.

    Args:
        name: `module:function`. It gets the text of `sasl.oauthbearer.config`, and gives a `Token`.

    Example:
        >>> Consumer({**properties, "oauth_cb": TokenFunction("worker.kafka.msk:token")})
    """

    def __init__(self, name: str, wait_seconds: float = _WAIT_SECONDS, now: Callable[[], float] = time.time) -> None:
        self._name = name
        self._wait_seconds = wait_seconds
        self._now = now
        self._limit = LogLimiter()
        self._running: queue.SimpleQueue[object] | None = None
        self._latest: Token = (_NO_TOKEN, 0.0)

    def __call__(self, config: str) -> Token:
        """A token: a new one if there is one."""
        try:
            self._latest = self._token(config)
        except NoToken as why:
            if self._limit.allows(self._name, time.monotonic()):
                _log.warning("no_kafka_token", function=self._name, detail=str(why))
            again = self._now() + _AGAIN_SECONDS
            return (self._latest[0], min(self._latest[1], again)) if self._is_good else (_NO_TOKEN, again)
        return self._latest

    @property
    def _is_good(self) -> bool:
        return self._latest[1] > self._now()

    def _token(self, config: str) -> Token:
        # One that was too late is waited for again: its token is as good.
        answers = self._running = self._running or self._started(config)
        wait_seconds = min(self._wait_seconds, _RENEWAL_SECONDS) if self._is_good else self._wait_seconds
        try:
            found = answers.get(timeout=wait_seconds)
        except queue.Empty:
            raise NoToken(f"it has not answered within {wait_seconds:g} s; it is waited for again") from None
        self._running = None
        if isinstance(found, NoToken):  # of a function of our own
            raise found
        if isinstance(found, Exception):
            raise NoToken(f"it raised {type(found).__name__}") from None
        return self._checked(found)

    def _started(self, config: str) -> queue.SimpleQueue[object]:
        answers: queue.SimpleQueue[object] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put(_function(self._name)(config))
            except Exception as error:  # noqa: BLE001 - whatever it is, the client must go on
                answers.put(error)
            except SystemExit as error:  # it must not end the process, nor go unheard
                answers.put(RuntimeError(error))

        threading.Thread(target=work, name="kafka token", daemon=True).start()
        return answers

    def _checked(self, found: object) -> Token:
        match found:
            case (str() as token, int() | float() as expiry) if token and not isinstance(expiry, bool):
                ahead = expiry - self._now()
            case _:
                raise NoToken("it must return (token, expiry): a text, and seconds since 1970")
        if not math.isfinite(ahead) or ahead > _AHEAD_SECONDS:
            raise NoToken("its expiry lies years ahead: it must be in seconds since 1970, not in milliseconds")
        if ahead <= 0:
            raise NoToken("the token that it returned has expired already; check this machine's clock, too")
        return token, float(expiry)


def _function(name: str) -> Callable[[str], object]:
    module, _, function = name.partition(":")
    found: Callable[[str], object] = getattr(importlib.import_module(module), function)
    return found

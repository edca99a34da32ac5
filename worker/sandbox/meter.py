"""The sandbox's counts: rate-limit windows, requests in flight, and recorded requests."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.sandbox.account import as_user, json_of
from worker.sandbox.upsert import Identifier, Upsert

SECONDS_KEPT = 3600
EXCHANGES_KEPT = 200_000


class RateLimit:
    """Fixed one-second windows for each token and endpoint, by the caller's clock."""

    def __init__(self, per_second: int) -> None:
        """`per_second` 0 is no limit."""
        self.per_second = per_second
        self._windows: dict[tuple[str, str], tuple[int, int]] = {}

    def take(self, token: str, endpoint: str, now: float) -> int:
        """Calls left in the window after this request. Below 0 if it is over the limit. `now` is in epoch seconds."""
        second = int(now)
        window, count = self._windows.get((token, endpoint), (second, 0))
        count = count + 1 if window == second else 1
        self._windows[token, endpoint] = (second, count)
        return self.per_second - count


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and its outcome. Times are epoch seconds. `status` is None until, or unless, one is sent."""

    number: int
    received_at: float
    method: str
    path: str
    upsert: Upsert | None = field(default=None, repr=False)
    applied: bool = False
    status: int | None = None
    answered_at: float | None = None
    ended_at: float | None = None

    def line(self) -> str:
        """The exchange as one JSON object, values in exactly the digits that were sent."""
        upsert = self.upsert
        shown: dict[str, object] = {
            "number": self.number,
            "received_at": self.received_at,
            "answered_at": self.answered_at,
            "ended_at": self.ended_at,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "applied": self.applied,
            "user": None if upsert is None else as_user(upsert.identifiers),
        }
        properties = "null"
        if upsert is not None:
            members = (f"{json.dumps(name)}: {json_of(value)}" for name, value in upsert.properties.items())
            properties = f"{{{', '.join(members)}}}"
        return f'{json.dumps(shown)[:-1]}, "properties": {properties}}}'


class Meter:
    """Counts requests, and keeps the latest exchanges if `record` is set."""

    def __init__(self, *, record: bool) -> None:
        self.recording = record
        self._in_flight: Counter[Identifier] = Counter()
        self._open = 0
        self.reset(0.0)

    def reset(self, now: float) -> None:
        """Forgets counts and exchanges, but not the requests in flight: they still end. `now` is in epoch seconds."""
        self._started_at = now
        self._by_status: Counter[str] = Counter()
        self._seconds: deque[list[int]] = deque(maxlen=SECONDS_KEPT)
        self._kept: deque[Exchange] = deque(maxlen=EXCHANGES_KEPT)
        self._open_max = self._open
        self._requests = self._overlaps = self._throttled = 0

    def received(self, method: str, path: str, now: float) -> Exchange:
        """Counts a request as soon as its head has arrived."""
        self._requests += 1
        self._open += 1
        self._open_max = max(self._open_max, self._open)
        exchange = Exchange(self._requests, now, method, path)
        if self.recording:
            self._kept.append(exchange)
        return exchange

    def named(self, exchange: Exchange, upsert: Upsert) -> None:
        """Notes the request's identifiers. Counts an overlap if a request with one of them is still in flight."""
        exchange.upsert = upsert
        keys = {identifier.key for identifier in upsert.identifiers}
        self._overlaps += any(key in self._in_flight for key in keys)
        self._in_flight.update(keys)

    def read(self, now: float) -> None:
        """Counts a whole request in its second, by the same `now` as the rate limit."""
        second = int(now)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
        self._seconds[-1][1] += 1

    def throttled(self) -> None:
        """Counts the request that was just read as over the limit."""
        self._throttled += 1
        self._seconds[-1][2] += 1

    def ended(self, exchange: Exchange, status: int | None, now: float) -> None:
        """Counts an answer that is about to be sent. A `status` of None means closed without an answer."""
        self._open -= 1
        self._by_status["none" if status is None else str(status)] += 1
        exchange.status, exchange.ended_at = status, now
        exchange.answered_at = None if status is None else now
        if exchange.upsert is None:
            return
        for key in {identifier.key for identifier in exchange.upsert.identifiers}:
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]

    def stats(self) -> dict[str, object]:
        """The counts so far."""
        return {
            "started_at": self._started_at,
            "requests": self._requests,
            "by_status": dict(sorted(self._by_status.items())),
            "per_second": [list(second) for second in self._seconds],
            "in_flight": self._open,
            "max_in_flight": self._open_max,
            "overlaps": self._overlaps,
            "throttled": self._throttled,
        }

    def lines(self, since: int) -> Iterator[str]:
        """The recorded exchanges with a number above `since`, in the order of arrival."""
        return (exchange.line() for exchange in self._kept if exchange.number > since)

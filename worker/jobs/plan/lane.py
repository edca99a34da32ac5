"""What one window makes of the traffic: when each call becomes due, when the limit lets it go, and what is held."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Final, NamedTuple

from worker.core.delivery.rate import BURST_SECONDS, HEADROOM
from worker.core.waiting.entry import ENTRY_BYTES
from worker.core.waiting.memory import RESUME_BELOW

LATE_MS: Final = 1_000


class Arrival(NamedTuple):
    """One change of a user, without its values.

    Attributes:
        at_ms: its record's time, which stands for its arrival.
        user: a hash of the user's key.
        size_bytes: what it takes in the worker's memory, at most.
    """

    at_ms: int
    user: int
    size_bytes: int


class _Waiting:
    """A user's changes that wait for one call."""

    __slots__ = ("first_ms", "opened_ms", "size_bytes")

    def __init__(self, first_ms: int, opened_ms: float, size_bytes: int) -> None:
        self.first_ms = first_ms
        self.opened_ms = opened_ms
        self.size_bytes = size_bytes


class Lane:
    """One window, played in the time of the log. Changes come in the order of their times.

    It follows `Window`, `Rate` and `Memory` of the worker: a user's first waiting change opens a window; at its end the
    call is due; it goes as soon as the limit allows, and takes what has come meanwhile; if memory is short, the oldest
    go early and the log waits. A change that comes as the call goes belongs to the next one. Calls take no time here.

    Args:
        seconds: the window.
        limit: calls a second; infinite without one.
        max_bytes: the memory budget.

    Attributes:
        calls: calls made.
        due: how many calls became due, by second of the epoch.
        late: calls that the limit held back for more than a second.
        early: calls that went before their window ended, because memory was short.
        wait_ms: the longest time that the limit held a call back.
        delay_ms: the longest time from a change to its call.
        held_bytes: the most that was held.

    Example:
        >>> lane = Lane(5.0, 150.0, max_bytes)
        >>> lane.take(arrival)
        >>> lane.end()  # no more will come
    """

    def __init__(self, seconds: float, limit: float, max_bytes: int) -> None:
        self.seconds = seconds
        self._window_ms = seconds * 1000
        self._pause_ms = 1000 / (limit * HEADROOM)
        self._burst_ms = max(0.0, BURST_SECONDS * 1000 - self._pause_ms) if limit < math.inf else 0.0
        self._max_bytes = max_bytes
        self._waiting: dict[int, _Waiting] = {}
        self._order: deque[int] = deque()  # users, by when their windows began: so they become due in this order
        self._now_ms = -math.inf  # behind the records' times while memory is short
        self._token_ms = -math.inf  # when the tokens would be used up at an even pace
        self._next_ms = math.inf  # when the next call goes
        self._held_bytes = 0
        self.calls = 0
        self.due: Counter[int] = Counter()
        self.late = 0
        self.early = 0
        self.wait_ms = 0.0
        self.delay_ms = 0.0
        self.held_bytes = 0

    def take(self, arrival: Arrival) -> None:
        """The next change."""
        at_ms, user, size_bytes = arrival
        self._now_ms = max(self._now_ms, at_ms)
        if self._now_ms >= self._next_ms:
            self._call_until(self._now_ms)
        waiting = self._waiting.get(user)
        if waiting is None:
            size_bytes += ENTRY_BYTES
            self._waiting[user] = _Waiting(at_ms, self._now_ms, size_bytes)
            self._order.append(user)
            if len(self._order) == 1:
                self._next_ms = self._start_ms()
        else:
            waiting.size_bytes += size_bytes
        self._held_bytes += size_bytes
        self.held_bytes = max(self.held_bytes, self._held_bytes)
        if self._held_bytes > self._max_bytes:
            self._make_room()

    def end(self) -> None:
        """No more changes come: the windows run out."""
        self._call_until(math.inf)

    def _due_ms(self) -> float:
        return self._waiting[self._order[0]].opened_ms + self._window_ms

    def _start_ms(self) -> float:
        return max(self._due_ms(), self._token_ms - self._burst_ms) if self._order else math.inf

    def _call_until(self, until_ms: float) -> None:
        while self._order and (start_ms := self._start_ms()) <= until_ms:
            self._call(self._due_ms(), start_ms)
        self._next_ms = self._start_ms()

    def _make_room(self) -> None:
        while self._held_bytes > self._max_bytes * RESUME_BELOW:
            self._now_ms = max(self._now_ms, self._token_ms - self._burst_ms)
            due_ms = self._due_ms()
            self.early += due_ms > self._now_ms
            self._call(min(due_ms, self._now_ms), self._now_ms)
        self._next_ms = self._start_ms()

    def _call(self, due_ms: float, start_ms: float) -> None:
        waiting = self._waiting.pop(self._order.popleft())
        self._token_ms = max(self._token_ms, start_ms) + self._pause_ms
        self._held_bytes -= waiting.size_bytes
        self.calls += 1
        self.due[int(due_ms // 1000)] += 1
        wait_ms = start_ms - due_ms
        self.late += wait_ms > LATE_MS
        self.wait_ms = max(self.wait_ms, wait_ms)
        self.delay_ms = max(self.delay_ms, start_ms - waiting.first_ms)

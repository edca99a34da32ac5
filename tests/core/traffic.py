"""Steady traffic of new users through the real engine in virtual time, against a destination that takes its time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.core.drive import Driver, phone
from worker.core.model import Call, Reply, UserKey
from worker.core.waiting.entry import Entry

PER_SECOND = 60
LATENCY_SECONDS = 0.05
WEB_PAGE_403 = Reply(403, web_page=True)
WITHIN_SECONDS = 60.0


def entry(user: int) -> Entry:
    made = Entry(UserKey("phone", "", phone(user)), 0.0)
    made.begin()
    return made


class Traffic:
    """New users at a steady pace, each with one change, and a destination that takes its time."""

    def __init__(
        self,
        answer: Callable[[Call, float], Reply],
        per_second: int = PER_SECOND,
        *,
        latency_seconds: Callable[[Call], float] = lambda _: LATENCY_SECONDS,
        **limits: Any,  # noqa: ANN401 - the driver's own
    ) -> None:
        self.driver = Driver(**{"requests_per_second": 150.0, "concurrency": 32, "backoff": jittered(), **limits})
        self.began = self.driver.now.mono
        self.users = 0
        self.delivered: set[str] = set()
        self._answer = answer
        self._latency_seconds = latency_seconds
        self._per_second = per_second
        self._under_way: list[tuple[float, Call]] = []

    def run(self, seconds: float, *, silent: bool = False) -> None:
        """Time passes in steps of 10 ms."""
        until = self.driver.now.mono + seconds
        due = self.driver.now.mono
        while self.driver.now.mono < until:
            while not silent and due <= self.driver.now.mono:
                self.driver.change(self.users, {"a": self.users})
                self.users += 1
                due += 1 / self._per_second
            self._exchange()
            self.driver.advance(0.01)

    def _exchange(self) -> None:
        driver, now = self.driver, self.driver.now.mono
        for at, call in [flight for flight in self._under_way if flight[0] <= now]:
            self._under_way.remove((at, call))
            reply = self._answer(call, now - self.began)
            if reply.status == 200:
                self.delivered.add(str(call.user.phone))
            driver.reply(call, reply)
        calls = driver.calls(32 - len(self._under_way))
        self._under_way += [(now + self._latency_seconds(call), call) for call in calls]
        driver.post()
        driver.facts += driver.engine.facts()


def jittered() -> Callable[[int], float]:
    rng = random.Random(1)
    return lambda failures: rng.uniform(0.0, min(30.0, 0.5 * 2.0 ** (failures - 1)))


def bad_one_in(share: int, reply: Reply) -> Callable[[Call, float], Reply]:
    """Every n-th user is always answered that."""
    return lambda call, _: reply if int(str(call.user.phone)[5:]) % share == 0 else Reply(200)

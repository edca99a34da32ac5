"""A replay as a process, the live workers beside it, and what the destination saw of both."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from typing import Any, Self

import httpx

from tests.end_to_end.conftest import SHORT_SESSION, Lab
from tests.support.processes import Command, SandboxCommand, WorkerCommand, until
from tests.support.producers import ordered_producer
from tests.support.profiles import Change, encode, phone
from tests.support.topics import commit_ends

CONCURRENCY = 8
PARTITIONS = 6
LIMIT = 150
"""Calls a second: the sandbox's default."""
_TICK_SECONDS = 0.1
_LOOK_SECONDS = 0.1


def begin(lab: Lab, sandbox: SandboxCommand, *options: str, **settings: str) -> Command:
    """Starts `replay … --json`."""
    environment = lab.environment(sandbox.base_url, {"WORKER_ATTENTIVE__CONCURRENCY": str(CONCURRENCY), **settings})
    return lab.start("replay", *options, "--json", environment=environment)


def result(command: Command, status: int = 0) -> dict[str, Any]:
    """What it printed at its end."""
    assert command.wait(120) == status, command.log.read_text()
    return dict(json.loads(command.output.read_text()))


def old_changes(users: int) -> list[Change]:
    """One for each user: the range of a replay. Only these set `first`, so a call that carries it is the replay's."""
    return [Change(phone(user), {"first": user, "latest": user}, user) for user in range(users)]


class Traffic:
    """Changes that come meanwhile, in a thread, at a steady pace. Each value of `latest` is higher than all before.

    Attributes:
        made: all that are in the topic, in order, with those that were there before.
    """

    def __init__(self, lab: Lab, made: list[Change], rng: random.Random, *, users: int, per_second: float) -> None:
        self.made = made
        self._lab = lab
        self._rng = rng
        self._users = users
        self._per_tick = per_second * _TICK_SECONDS
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _write(self) -> None:
        producer = ordered_producer(self._lab.broker.bootstrap_servers)
        began, written = time.monotonic(), 0
        while not self._ended.wait(_TICK_SECONDS):
            due = int((time.monotonic() - began) / _TICK_SECONDS * self._per_tick)
            for _ in range(due - written):
                number = len(self.made)
                change = Change(phone(self._rng.randrange(self._users)), {"latest": number}, number)
                producer.produce(self._lab.topic, encode(change), change.phone.encode())
                self.made.append(change)
            written = due
            producer.poll(0)
        assert producer.flush(30) == 0


class Fleet:
    """Three live workers that come and go, and the replies that each got.

    The group begins at the topic's present end: what is there already is the replay's alone.
    """

    def __init__(self, lab: Lab, sandbox: SandboxCommand, rng: random.Random) -> None:
        commit_ends(lab.broker.bootstrap_servers, lab.group, lab.topic)
        self._lab = lab
        self._sandbox = sandbox
        self._rng = rng
        self._churn_at = 0.0
        self._replies: dict[WorkerCommand, Counter[str]] = {}
        self._workers = [self._start() for _ in range(3)]
        self.killed = self.stopped = 0
        until(self._is_shared, 60, "each worker has partitions")

    def _start(self) -> WorkerCommand:
        return self._lab.worker(self._sandbox.base_url, SHORT_SESSION)

    def _is_shared(self) -> bool:
        """Whether every partition is some worker's, and each worker has some."""
        if not all(worker.events("serving") for worker in self._workers):
            return False
        held = [len(worker.status()["partitions"]) for worker in self._workers]
        return min(held) > 0 and sum(held) == PARTITIONS

    def look(self) -> None:
        """Takes down the replies so far. What a killed worker gets between the last look and its end is not known."""
        for worker in self._workers:
            self._look_at(worker)

    def _look_at(self, worker: WorkerCommand) -> None:
        if not worker.events("serving"):
            return
        with suppress(httpx.TransportError):  # it has ended
            self._replies[worker] = Counter(worker.status()["totals"]["replies"])

    def turn_once(self) -> None:
        """Ends one, and starts another."""
        until(self._is_shared, 60, "each worker has partitions")
        self._replace_one()

    def turn(self, job: Command, *, churn: bool = True) -> None:
        """Looks at the workers until the job ends; every few seconds ends one of them and starts another."""

        def turned() -> bool:
            self.look()
            if churn:
                self._churn()
            return job.ended

        until(turned, 250, "the job ends", pause=_LOOK_SECONDS)

    def _churn(self) -> None:
        if time.monotonic() >= self._churn_at and self._is_shared():
            if self._churn_at:
                self._replace_one()
            self._churn_at = time.monotonic() + self._rng.uniform(3, 6)

    def _replace_one(self) -> None:
        worker = self._workers.pop(self._rng.randrange(len(self._workers)))
        if self.killed <= self.stopped:
            self._look_at(worker)
            worker.kill()
            self.killed += 1
        else:
            worker.signal(signal.SIGTERM)
            until(lambda: self._has_ended(worker), 40, "the worker stops", pause=_LOOK_SECONDS)
            assert worker.wait() == 0, worker.log.read_text()[-2000:]
            self.stopped += 1
        self._workers.append(self._start())

    def _has_ended(self, worker: WorkerCommand) -> bool:
        self._look_at(worker)
        return worker.ended

    def replies(self) -> Counter[str]:
        """By status, of all workers that ever were."""
        return sum(self._replies.values(), Counter())

    def end(self) -> None:
        """Waits until everything is delivered, and stops all."""
        self._lab.until_committed(90)
        until(self._is_shared, 60, "each worker has partitions")
        self.look()
        for worker in self._workers:
            assert worker.stop() == 0, (worker.process.returncode, worker.log.read_text()[-2000:])


def assert_never_back(sandbox: SandboxCommand) -> None:
    """No user was seen with an older value after a newer one, in the order in which the destination got them."""
    seen: dict[str, list[int]] = defaultdict(list)
    for request in sandbox.requests():
        assert request["status"] in {200, 429, None}, request  # None: its worker was killed
        if request["applied"] and "latest" in request["properties"]:
            seen[str(request["user"])].append(int(request["properties"]["latest"]))
    back = {user: values for user, values in seen.items() if values != sorted(values)}
    assert not back, next(iter(back.values()))


def replayed(sandbox: SandboxCommand) -> Counter[str]:
    """How often each user was sent what lies in the range alone."""
    found = (request for request in sandbox.requests() if request["applied"] and "first" in request["properties"])
    return Counter(str(request["user"]) for request in found)

"""The loop around the engine: what a drain, a commit and the notes beside offsets come to. The brokers are a script."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import structlog

from tests.core.drive import P0, P1, SCHEMA, doubling, encode
from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.model import Partition, Record
from worker.core.options import Options
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.kafka.member import Subscription
from worker.live.lease import Lease
from worker.live.membership import Pace, Parts, Shell, clock
from worker.live.share import Share

GARBAGE = b"\xff"


class Brokers:
    """Takes every commit, and tells the notes that the test has put there."""

    joined = True
    problem = None
    commits_refused = 0
    silent_seconds = 0.0

    def __init__(self) -> None:
        self.acknowledged: dict[Partition, int] = {}
        self.commits: list[tuple[dict[Partition, int], str]] = []
        self.noted: list[str] | None = []
        self.records: list[Record] = []
        self.when_polled: Callable[[], None] = lambda: None

    def poll(self, _: float) -> list[Record]:
        self.when_polled()
        taken, self.records = self.records, []
        return taken

    def commit(self, offsets: Mapping[Partition, int], *, note: str = "", wait: bool = False) -> None:
        del wait
        self.commits.append((dict(offsets), note))
        self.acknowledged |= offsets

    def committed(self) -> Mapping[Partition, int]:
        return self.acknowledged

    def notes(self, _: Iterable[Partition]) -> list[str] | None:
        return self.noted

    def end_offsets(self) -> Mapping[Partition, int]:
        return {}

    def pause(self, _: Iterable[Partition]) -> None: ...

    resume = pause

    def close(self) -> None: ...


class Silent:
    """Any part that the test does not look at: each method does nothing."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


def shell_of(drain_seconds: float) -> tuple[Shell, Brokers]:
    """A shell that holds two partitions, whose calls are never answered."""
    engine = Engine(
        Options(window_seconds=0.0),
        decoder=Decoder(FieldMapping(), writer_schema=SCHEMA),
        preflight=Preflight(IdentityRules(), AttributeRules()),
        backoff=doubling,
        now=clock(),
    )
    silent: Any = Silent()
    senders: Any = SimpleNamespace(free=10, replies=lambda *_: [], submit=lambda _: None, abort=lambda _: None)
    letters: Any = SimpleNamespace(results=list, publish=lambda _: None)
    parts = Parts(
        engine=engine,
        senders=senders,
        token=silent,
        letters=letters,
        schemas=None,
        lease=Lease(40.0),
        board=silent,
        telemetry=silent,
        reporter=silent,
        log=structlog.get_logger(),
    )
    shell, brokers = Shell(parts, Pace(1_000.0, drain_seconds), Share(lambda: 2)), Brokers()
    shell.subscribed(cast("Subscription", brokers))
    shell.on_assigned([P0, P1])
    return shell, brokers


def record(partition: Partition, offset: int, value: bytes | None) -> Record:
    return Record(partition, offset, 0, b"key", value)


def test_a_revoke_amid_a_stop_begins_no_deadline_of_its_own() -> None:
    shell, brokers = shell_of(drain_seconds=0.6)
    brokers.records = [record(partition, 0, encode(number, {"a": 1})) for number, partition in enumerate((P0, P1))]
    shell.turn()
    begun = time.monotonic()
    revoked: list[Partition] = []

    def revoke() -> None:
        if not revoked and time.monotonic() - begun > 0.4:
            revoked.append(P0)
            shell.on_revoked([P0])

    brokers.when_polled = revoke
    shell.stop()
    assert revoked
    assert time.monotonic() - begun < 0.95


def test_the_note_of_what_was_spent_reaches_all_partitions_though_a_revoke_committed_it_for_one() -> None:
    shell, brokers = shell_of(drain_seconds=0.05)
    brokers.records = [record(P0, 0, None), record(P1, 0, None)]
    shell.turn()
    assert brokers.commits.pop() == ({P0: 1, P1: 1}, "letters-spent 0 0")
    brokers.records = [record(P0, 1, GARBAGE), record(P0, 2, None)]
    shell.turn()
    shell.on_revoked([P0])
    assert brokers.commits.pop() == ({P0: 1}, "letters-spent 1 0")
    shell.stop()
    assert brokers.commits.pop() == ({P1: 1}, "letters-spent 1 0")


def test_a_note_that_could_not_be_read_is_asked_for_again_and_not_written_over() -> None:
    shell, brokers = shell_of(drain_seconds=0.05)
    brokers.noted = None
    brokers.records = [record(P0, 0, None)]
    shell.turn()
    assert brokers.commits == []
    brokers.noted = ["letters-spent 40 0"]
    shell.stop()
    assert brokers.commits == [({P0: 1}, "letters-spent 40 0")]

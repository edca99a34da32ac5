"""The real membership, exchange and engine in virtual time. Small fakes stand behind the ports, moved by the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.core.drive import OK, P0, P1, SCHEMA, STARTED, doubling, options
from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.facts import DeletedUnread, Fact
from worker.core.model import Call, Letter, Now, Partition, Record, Reply
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.live.drain import Drain
from worker.live.exchange import Exchange
from worker.live.lease import Lease
from worker.live.membership import Membership, Pace
from worker.live.ports import Listener, Standing
from worker.live.share import Share

GARBAGE = b"\xff"
STEP_SECONDS = 0.05
COMMIT_SECONDS = 1_000.0


@dataclass
class Brokers:
    """The group. It accepts every commit, and gives the notes and records that the test has put into it."""

    joined: bool = True
    problem: str | None = None
    commits_refused: int = 0
    silent_seconds: float = 0.0
    noted: list[str] | None = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    acknowledged: dict[Partition, int] = field(default_factory=dict)
    commits: list[tuple[dict[Partition, int], str]] = field(default_factory=list)
    ends_reached: dict[Partition, int] = field(default_factory=dict)
    deleted: list[DeletedUnread] = field(default_factory=list)
    raises: Exception | None = None
    close_raises: Exception | None = None
    held: set[Partition] = field(default_factory=set)
    more_waits: bool = False
    rejoined: int = 0
    closed: bool = False

    def subscribe(self, listener: Listener) -> None:
        listener.assigned([P0, P1])

    def poll(self, _: float, __: int | None = None) -> list[Record]:
        if self.raises is not None and not self.records:
            raise self.raises
        taken, self.records = self.records, []
        return taken

    def passed(self) -> Mapping[Partition, int]:
        return self.ends_reached

    def deleted_unread(self) -> list[DeletedUnread]:
        taken, self.deleted = self.deleted, []
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

    def assignment(self) -> set[Partition]:
        return set(self.held)

    def rejoin(self) -> None:
        self.rejoined += 1

    def close(self) -> None:
        if self.close_raises is not None:
            raise self.close_raises
        self.closed = True


@dataclass
class Destination:
    """The senders. `answer` gives each call's reply when replies are next taken; None leaves the call in flight."""

    answer: Callable[[Call], Reply | None] = lambda _: OK
    calls: list[Call] = field(default_factory=list)
    in_flight: list[Call] = field(default_factory=list)
    concurrency: int = 10
    rested: list[float] = field(default_factory=list)

    @property
    def free(self) -> int:
        return self.concurrency - len(self.in_flight)

    def rest(self, seconds: float) -> None:
        self.rested.append(seconds)

    def submit(self, call: Call) -> None:
        self.calls.append(call)
        self.in_flight.append(call)

    def replies(self, _: float = 0.0) -> list[tuple[Call, Reply]]:
        answered = [(call, reply) for call in self.in_flight if (reply := self.answer(call)) is not None]
        self.in_flight = [call for call in self.in_flight if all(call is not done for done, _ in answered)]
        return answered

    def abort(self, calls: Iterable[Call]) -> None:
        gone = set(calls)
        self.in_flight = [call for call in self.in_flight if call not in gone]


class Topic:
    """The dead-letter topic: it acknowledges each letter at once."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self._results: list[tuple[Letter, str | None]] = []

    def publish(self, letter: Letter) -> None:
        self.letters.append(letter)
        self._results.append((letter, None))

    def results(self) -> list[tuple[Letter, str | None]]:
        results, self._results = self._results, []
        return results


class Unchanging:
    """A token that never changes."""

    def reload(self) -> bool:
        return False


class Rig:
    """A membership that holds two partitions, P0 and P1."""

    def __init__(
        self,
        *,
        schema: dict[str, object] | None = SCHEMA,
        drain_seconds: float = 20.0,
        lease_seconds: float = 40.0,
        **limits: float,
    ) -> None:
        """A `schema` of None: each record names its own."""
        self.now = STARTED
        self.brokers = Brokers()
        self.destination = Destination()
        self.topic = Topic()
        self.facts: list[Fact] = []
        self.engine = Engine(
            options(**{"window_seconds": 0.0, "requests_per_second": 10_000.0, **limits}),
            decoder=Decoder(FieldMapping(), writer_schema=schema),
            preflight=Preflight(IdentityRules(), AttributeRules()),
            backoff=doubling,
            now=self.now,
        )
        self.exchange = Exchange(
            self.engine,
            senders=self.destination,
            letters=self.topic,
            schemas=None,
            token=Unchanging(),
            clock=lambda: self.now,
            observer=self,
        )
        self.lease = Lease(lease_seconds, lambda: self.now.mono)
        self.membership = Membership(
            self.exchange,
            self.brokers,
            lease=self.lease,
            share=Share(lambda: 2),
            pace=Pace(COMMIT_SECONDS, drain_seconds),
            reporter=self,
        )

    def observe(self, fact: Fact) -> None:
        self.facts.append(fact)

    def report(self, _: Now, __: Standing) -> None:
        """Dropped: no test reads the reports."""

    def hold(self) -> None:
        """Assigns both partitions."""
        self.brokers.held = {P0, P1}
        self.membership.assigned([P0, P1])

    @property
    def problem(self) -> str:
        return self.membership.problem or ""

    def advance(self, seconds: float) -> None:
        self.now = Now(self.now.mono + seconds, self.now.wall_ms + int(seconds * 1000))

    def turn(self, *records: Record) -> None:
        """A turn with these records, and one more to take in the replies and delivery reports."""
        self.membership.turn(records)
        self.membership.turn([])

    def finish(self, drain: Drain, *, seconds: float = 100.0) -> float:
        """Steps a drain until it ends or `seconds` have passed; returns the seconds that it took."""
        begun = self.now.mono
        while drain.step(self.now) is None and self.now.mono - begun < seconds:
            self.advance(STEP_SECONDS)
        return self.now.mono - begun


def record(partition: Partition, offset: int, value: bytes | None) -> Record:
    return Record(partition, offset, STARTED.wall_ms, b"key", value)

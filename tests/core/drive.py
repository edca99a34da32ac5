"""Drives the real engine in virtual time, against a scripted destination. Uses only the engine's public methods."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any, TypeVar

from fastavro import parse_schema, schemaless_writer

from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.facts import Fact
from worker.core.model import Call, Failure, Letter, Now, Partition, Record, Reply, Scalar, UserKey
from worker.core.options import Options
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.core.status import EngineStatus
from worker.registry.bundled import bundled

P0, P1, P2 = (Partition("profile-changes", number) for number in range(3))
SCHEMA: Any = bundled("profile_changed")
_PARSED = parse_schema(bundled("profile_changed"))
STARTED = Now(1_000.0, 1_700_000_000_000)
STEP_SECONDS = 0.05

_Told = TypeVar("_Told")

Answer = Callable[[Call], Reply]

OK = Reply(200)
REFUSED = Reply(400, body="no", request_id="r-1")
TIMEOUT = Reply(None, Failure.TIMEOUT)
ABORTED = Reply(None, Failure.ABORTED)


def phone(user: int) -> str:
    """The phone number of the n-th user."""
    return f"+1311{user:07d}"


def key(user: int) -> UserKey:
    """The n-th user's key, as the window stores it."""
    return UserKey("phone", "", phone(user))


def encode(user: int, attributes: Mapping[str, object], *, event_id: str = "e") -> bytes:
    """A profile change in bare Avro."""
    return encode_of({"phone": phone(user)}, attributes, event_id=event_id)


def encode_of(user: Mapping[str, str], attributes: Mapping[str, object], *, event_id: str = "e") -> bytes:
    """A profile change of a user with these identifiers, in bare Avro."""
    stream = BytesIO()
    event = {
        "event_id": event_id,
        "user": dict(user),
        "attributes": attributes,
        "occurred_at": STARTED.wall_ms,
    }
    schemaless_writer(stream, _PARSED, event)
    return stream.getvalue()


def options(**changed: float) -> Options:
    """The limits that suit most tests, with these changes."""
    usual = Options(
        window_seconds=5.0,
        max_bytes=256 * 1024 * 1024,
        requests_per_second=150.0,
        concurrency=32,
        timeout_seconds=10.0,
        retry_after_max_seconds=300.0,
        probe_max_seconds=10.0,
        server_error_seconds=300.0,
        calls_per_entry_max=40,
        storm_letters_max=40,
        storm_share_max=0.5,
    )
    return replace(usual, **changed)  # type: ignore[arg-type]  # the callers' keywords name the fields


def doubling(failures: int) -> float:
    """A backoff without jitter: 1, 2, 4, 8 … 30 s."""
    return min(30.0, 2.0 ** (failures - 1))


class Account:
    """The destination. It applies a whole call, or refuses it whole if `refuses` is true for one of its values."""

    def __init__(self, refuses: Callable[[str, Scalar], bool] = lambda _name, _value: False) -> None:
        self.refuses = refuses
        self.users: defaultdict[str, dict[str, Scalar]] = defaultdict(dict)

    def __call__(self, call: Call) -> Reply:
        if any(self.refuses(name, value) for name, value in call.properties.items()):
            return REFUSED
        self.users[str(call.user.phone)].update(call.properties)
        return OK

    def of(self, user: int) -> dict[str, Scalar]:
        """What the n-th user holds now."""
        return self.users[phone(user)]


class Driver:
    """Feeds an engine, and remembers what it asked for."""

    def __init__(
        self,
        *partitions: Partition,
        backoff: Callable[[int], float] = doubling,
        decoder: Decoder | None = None,
        identity: IdentityRules | None = None,
        **limits: float,
    ) -> None:
        self.now = STARTED
        self.engine = Engine(
            options(**{"window_seconds": 0.0, "requests_per_second": 10_000.0, **limits}),
            decoder=decoder or Decoder(FieldMapping(), writer_schema=SCHEMA),
            preflight=Preflight(identity or IdentityRules(), AttributeRules()),
            backoff=backoff,
            now=self.now,
        )
        self.engine.share(1.0, self.now)
        self.advance(1.0)  # the rate saves up a burst of calls
        self.engine.assigned(partitions or (P0,))
        self.ends: Counter[Partition] = Counter()
        self.sent: list[Call] = []
        self.written: list[Letter] = []
        self.facts: list[Fact] = []
        self.letters_fail = False

    # -- the log ---------------------------------------------------------------------------------------------------

    def change(self, user: int, attributes: Mapping[str, object], partition: Partition = P0) -> int:
        """Feeds a change of a user; returns the record's offset."""
        return self.record(encode(user, attributes), partition)

    def record(self, value: bytes | None, partition: Partition = P0) -> int:
        """Feeds any record; returns its offset."""
        offset = self.ends[partition]
        self.ends[partition] += 1
        record = Record(partition, offset, STARTED.wall_ms + offset, b"key", value)
        self.engine.receive([record], self.now)
        return offset

    # -- time and calls --------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Moves time on; the engine is not called."""
        self.now = Now(self.now.mono + seconds, self.now.wall_ms + round(seconds * 1000))

    def calls(self, free: int = 100) -> list[Call]:
        """Lets the engine make its calls; returns them."""
        calls = self.engine.calls(free, self.now)
        self.sent += calls
        return calls

    def call(self) -> Call:
        """As `calls`, where the engine must make exactly one."""
        (call,) = self.calls()
        return call

    def reply(self, call: Call, reply: Reply) -> None:
        """Gives the engine the reply to a call."""
        self.engine.replied(call, reply, self.now)

    def post(self) -> list[Letter]:
        """Writes the letters that are due; with `letters_fail`, reports that each write failed."""
        letters = self.engine.letters(self.now)
        for letter in letters:
            if self.letters_fail:
                self.engine.letter_failed(letter, "the topic is down", self.now)
            else:
                self.written.append(letter)
                self.engine.letter_written(letter, self.now)
        return letters

    def turn(self, answer: Answer) -> list[Call]:
        """One turn: calls, their replies at once, letters."""
        calls = self.calls()
        for call in calls:
            self.reply(call, answer(call))
        self.post()
        self.facts += self.engine.facts()
        return calls

    def run(self, answer: Answer, seconds: float) -> None:
        """Turns until nothing is open or the time is over."""
        until = self.now.mono + seconds
        while self.now.mono < until and (self.engine.open_entries or self.engine.letters_waiting):
            self.turn(answer)
            self.advance(STEP_SECONDS)

    # -- what came of it -------------------------------------------------------------------------------------------

    @property
    def status(self) -> EngineStatus:
        """The engine's status now."""
        return self.engine.status(self.now)

    @property
    def committable(self) -> int | None:
        """The committable offset of P0."""
        return self.engine.committable().get(P0)

    def told(self, kind: type[_Told]) -> list[_Told]:
        """All facts of this kind so far."""
        self.facts += self.engine.facts()
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def lost(self) -> list[tuple[str, str, object]]:
        """Every attribute in a written letter: reason, name, value."""
        return [
            (letter.reason.value, attribute.name, attribute.value)
            for letter in self.written
            for attribute in letter.attributes
        ]


def warm(driver: Driver) -> None:
    """Makes one call succeed. From then on a 404 means an unknown user; before, it means a wrong URL."""
    driver.change(999, {"a": 0})
    driver.reply(driver.call(), OK)

"""Whole engines, one by generated code and one step by step: of any stream the same calls, letters, offsets and bytes.

Users come in many spellings, wait, fail, are searched for what was refused, and go with their partitions.
"""

from __future__ import annotations

import os
import random
import secrets
from dataclasses import replace

import pytest

from tests.core.drive import ABORTED, OK, P0, P1, REFUSED, STARTED, TIMEOUT, doubling, encode_of, options
from tests.support.marks import slow_after
from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.model import Call, Checked, Event, Letter, Now, Partition, Record, Reply
from worker.core.rules import remembered
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.registry.bundled import bundled

SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))
STEPS = 80
PARTITIONS = (P0, P1)
CAPITALS = ("\u0130", "i\u0307")  # the second is the first in lower case, and longer
SPELLINGS = {
    "phone": ("+13115552368", "311 555 2368", "+254025415984", "00254 15984", "+25425415984", "+1", "", "unknown"),
    "email": ("a@example.com", "A@example.com", "a@EXAMPLE.com", "no", *(f"a@{97 * i}" for i in CAPITALS)),
    "client_user_id": ("u1", " u1", "U1", "x" * 100, "x" * 101, "unknown", "\n"),
}  # fmt: skip
VALUES = ("gold", "bad", "unknown", 1, True, 0.5, float("nan"), None)
NAMES = ("tier", "points", "ssn", "", "n" * 200)
TRACE = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)
REPLIES = (None, None, None, None, TIMEOUT, Reply(503), Reply(429, retry_after_seconds=1.0), Reply(404))


class InOrder(Preflight):
    """Gives attributes in their own order, since no call depends on it. Else some come first."""

    def check(self, event: Event) -> Checked:
        checked = super().check(event)
        accepted = {name: checked.accepted[name] for name in event.attributes if name in checked.accepted}
        rest = checked.refusals, checked.passed_over, checked.dropped_identifiers
        return Checked(checked.key, checked.sent, accepted, *rest)


class Play:
    """A random day of an engine. What is drawn depends on the seed, and on what the engine said before."""

    def __init__(self, seed: str, *, step_by_step: bool) -> None:
        rng = self.rng = random.Random(seed)
        kinds = rng.sample(["phone", "email", "client_user_id", "custom"], rng.randint(1, 4))
        rules = IdentityRules(
            tuple(kinds),
            phone_region=rng.choice([None, "US", "KE"]),
            email_case=rng.choice(["keep", "lower"]),
            invalid=rng.choice(["letter", "next"]),
        )
        attributes = AttributeRules(nulls=rng.choice(["drop", "empty_string"]), unknown_values=("unknown",))
        decoder = Decoder(FieldMapping(), writer_schema=bundled("profile_changed"))
        if step_by_step:
            decoder.go_on_to = lambda _: None  # type: ignore[method-assign,assignment]  # it stays with the event
        limits = replace(
            options(requests_per_second=10_000.0, storm_letters_max=10_000),
            window_seconds=rng.choice([0.0, 2.0]),
            max_bytes=rng.choice([3_000, 10**9]),
            calls_per_entry_max=rng.choice([3, 40]),
            sparing_users_max=rng.choice([0, 0, 3]),
        )
        self.engine = Engine(
            limits,
            decoder=decoder,
            preflight=InOrder(rules, attributes),
            backoff=doubling,
            now=STARTED,
        )
        self.engine.share(1.0, STARTED)
        self.now = STARTED
        self.advance(1.0)
        self.engine.assigned(PARTITIONS)
        self.held = set(PARTITIONS)
        self.log: dict[Partition, list[Record]] = {partition: [] for partition in PARTITIONS}
        self.committed = dict.fromkeys(PARTITIONS, 0)
        self.flying: list[Call] = []
        self.said: list[str] = []

    def advance(self, seconds: float) -> None:
        self.now = Now(self.now.mono + seconds, self.now.wall_ms + round(seconds * 1000))

    def run(self) -> list[str]:
        actions = (
            [self.receive] * 8 + [self.call] * 4 + [self.reply] * 6 + [self.post, self.wait, self.drop, self.assign]
        )
        for _ in range(STEPS):
            self.rng.choice(actions)()
            engine = self.engine
            self.committed |= engine.committable()
            self.said.append(f"{self.committed} {engine.held_bytes} {engine.open_entries} {engine.totals}")
        self.end()
        return self.said

    def receive(self) -> None:
        rng, partition = self.rng, self.rng.choice(PARTITIONS)
        user = {kind: rng.choice(them) for kind, them in SPELLINGS.items() if rng.random() < 0.5}
        custom = [{"name": "card", "value": rng.choice(SPELLINGS["client_user_id"])}] * rng.randrange(2)
        attributes = {rng.choice(NAMES[: rng.choice([2, 5])]): rng.choice(VALUES) for _ in range(rng.randint(1, 3))}
        value = encode_of({**user, "custom_identifiers": custom}, attributes)  # type: ignore[dict-item]  # a list
        key = rng.choice([None, b"\xff", next(iter(user.values()), "").encode()])
        records = self.log[partition]
        records.append(Record(partition, len(records), STARTED.wall_ms, key, value, rng.choice([(), (), TRACE])))
        if partition in self.held:
            self.engine.receive(records[-1:], self.now)

    def call(self) -> None:
        calls = self.engine.calls(self.rng.choice([1, 9]), self.now)
        self.flying += calls
        self.said += [f"{call.user.size_bytes} {_user(call)} {sorted(call.properties.items())!r}" for call in calls]

    def reply(self) -> None:
        if self.flying:
            call = self.flying.pop(self.rng.randrange(len(self.flying)))
            self.engine.replied(call, self.rng.choice(REPLIES) or _answer(call), self.now)

    def post(self) -> None:
        for letter in self.engine.letters(self.now):
            self.said.append(_letter(letter))
            self.engine.letter_written(letter, self.now)

    def wait(self) -> None:
        self.advance(self.rng.choice([0.1, 2.0, 31.0]))

    def drop(self) -> None:
        partition = self.rng.choice(PARTITIONS)
        for call in self.engine.dropped([partition]):
            self.flying.remove(call)
            self.engine.replied(call, ABORTED, self.now)
        self.held.discard(partition)

    def assign(self) -> None:
        for partition in [each for each in PARTITIONS if each not in self.held]:
            self.engine.assigned([partition])
            self.held.add(partition)
            self.engine.receive(self.log[partition][self.committed[partition] :], self.now)

    def end(self) -> None:
        """All that is left is delivered, or its letters are written. Then nothing is held."""
        engine = self.engine
        self.assign()
        for _ in range(2_000):
            for call in (*self.flying, *engine.calls(99, self.now)):
                engine.replied(call, _answer(call), self.now)
            self.flying = []
            self.post()
            self.advance(1.0)
            if not engine.open_entries and not engine.letters_waiting:
                break
        assert engine.held_bytes == engine.status(self.now).remembered_bytes
        assert self.committed | engine.committable() == {each: len(self.log[each]) for each in PARTITIONS}
        engine.dropped(PARTITIONS)
        assert (engine.held_bytes, engine.open_entries) == (engine.status(self.now).remembered_bytes, 0)


def _answer(call: Call) -> Reply:
    return REFUSED if "bad" in call.properties.values() else OK


def _user(call: Call) -> tuple[object, ...]:
    return call.user.phone, call.user.email, call.user.client_user_id, call.user.custom


def _letter(letter: Letter) -> str:
    lost = [(one.name, one.value, one.occurred_at_ms, one.partition, one.offset) for one in letter.attributes]
    return f"{letter.reason} {letter.detail} {sorted(lost, key=str)} {letter.record_key!r} {letter.attempts}"


@pytest.mark.parametrize("kept", slow_after(1, [1, 10_000]))
def test_what_is_taken_in_at_once_ends_as_step_by_step_and_leaves_nothing_held(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "_KEPT", kept)
    for number in range(60):
        seed = f"{SEED}/{number}"
        said, expected = (Play(seed, step_by_step=each).run() for each in (False, True))
        differing = [pair for pair in zip(said, expected, strict=False) if pair[0] != pair[1]]
        assert not differing, f"FUZZ_SEED={SEED}, the stream {seed}: {differing[0]}"
        assert len(said) == len(expected), f"FUZZ_SEED={SEED}"

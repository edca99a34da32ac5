"""Random envelopes: whatever keys, headers and timestamps are, each record ends as a call or as its dead letter.

The whole worker runs on the embedded mock broker. A producer in C writes the records; an API and a reader of the
dead-letter topic see what comes of them.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.core.drive import encode, phone
from tests.fuzz import envelopes
from tests.fuzz.mutate import CANARY
from tests.fuzz.worker_rig import TOPIC, Letter, Rig
from tests.support.avro import framed
from tests.support.odd_records import Odd

SEEDS = 3
RECORDS = 200
BATCH_BYTES_MAX = 2_000_000
SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 253_402_300_799_999  # the end of the year 9999
_REFUSED = 9_000_000  # users from here on are refused by the API

_DELIVERED, _PASSED_OVER = "delivered", "passed over"
_OUTCOMES = (
    _DELIVERED, _DELIVERED, _DELIVERED, _PASSED_OVER, "undecodable", "undecodable", "invalid_identity", "rejected"
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """A record, and what must become of it: one of `_OUTCOMES`, the reason of its dead letter where it has one."""

    record: Odd
    outcome: str
    user: int

    @property
    def reason(self) -> str | None:
        return None if self.outcome in {_DELIVERED, _PASSED_OVER} else self.outcome

    @property
    def is_called(self) -> bool:
        return self.outcome in {_DELIVERED, "rejected"}


def _sent(number: int, rng: random.Random) -> Sent:
    outcome = rng.choice(_OUTCOMES)
    user = number + (_REFUSED if outcome == "rejected" else 0)
    changed = encode(user, {"tier": CANARY})
    value: bytes | None = framed(7, changed)
    if outcome == _PASSED_OVER:
        value = None
    elif outcome == "undecodable":
        value = rng.choice((b"", b"\0", framed(7, b""), framed(7, changed[:-1]), changed + b"\xff", CANARY.encode()))
    elif outcome == "invalid_identity":
        value = framed(7, changed.replace(b"+", b"*"))
    record = Odd(value, envelopes.key(rng), envelopes.headers(rng), envelopes.timestamp_ms(rng), partition=0)
    return Sent(record, outcome, user)


def _fitting(made: Iterable[Sent]) -> list[Sent]:
    """As many as the mock broker keeps: past 5 MiB it drops the oldest."""
    left, fitting = BATCH_BYTES_MAX, []
    for each in made:
        left -= each.record.size_bytes
        if left < 0:
            break
        fitting.append(each)
    return fitting


def check_envelopes(seed: int, rig: Rig) -> None:
    """Checks the envelopes of one batch of records."""
    rng = random.Random(seed)
    sent = _fitting(_sent(number, rng) for number in range(RECORDS))
    number = -1
    try:
        first, letters = rig.settled([each.record for each in sent])
        by_offset = {int(letter.headers[3][1] or b""): letter for letter in letters}
        assert len(by_offset) == len(letters)
        for number, each in enumerate(sent):
            letter = by_offset.pop(first + number, None)
            assert (letter and letter.content["reason"]) == each.reason
            if letter is not None:
                _judge(letter, each.record, first + number)
        assert not by_offset
        assert rig.users() == {phone(each.user) for each in sent if each.is_called}
        for text in rig.texts():
            assert CANARY not in text
    except Exception as error:
        what = f", record {number}: {sent[number]}"[:2_000] if number >= 0 else ""
        error.add_note(f"seed {seed} (set FUZZ_SEED to run it again){what}")
        raise


def _judge(letter: Letter, record: Odd, offset: int) -> None:
    """The letter has its record's key, time and trace, and the record itself where it cannot be read."""
    assert letter.headers == [
        ("reason", letter.content["reason"].encode()),
        ("source.topic", TOPIC.encode()),
        ("source.partition", b"0"),
        ("source.offset", str(offset).encode()),
        *envelopes.carried(record.headers, of_record=letter.content["reason"] == "undecodable"),
    ]
    assert letter.key == record.key
    if letter.content["reason"] == "undecodable" and not letter.content["cut"]:
        assert (letter.content["key"], letter.content["value"]) == (record.key, record.value)
    if record.timestamp_ms is not None and record.timestamp_ms > 0:
        moment = letter.content["sources"][0]["timestamp"]
        assert (moment - _EPOCH) // timedelta(milliseconds=1) == min(record.timestamp_ms, _LATEST_MS)


@contextmanager
def envelope_checks() -> Iterator[Callable[[int], None]]:
    """Runs a worker. Yields the check of one seed."""
    with Rig(refused=lambda user: user >= phone(_REFUSED)) as rig:
        yield lambda seed: check_envelopes(seed, rig)


@pytest.mark.slow
def test_random_envelopes_change_nothing_about_their_records() -> None:
    with envelope_checks() as check:
        for seed in range(SEED, SEED + SEEDS):
            check(seed)

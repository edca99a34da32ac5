"""Hostile bytes: the kept corpus, and a few seconds of fresh ones that are almost right."""

from __future__ import annotations

import os
import random
import secrets
from pathlib import Path

import pytest

from tests.fuzz.cases import CASES, prepared
from tests.fuzz.mutate import spoilt, valid
from tests.fuzz.oracle import check

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*/*.hex"))
FRESH = 250  # records for each schema, so that all of it takes a few seconds
TRACED = 25  # of them with memory traced
SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))


def bytes_of(path: Path) -> bytes:
    """Hexadecimal text; lines that begin with # say what it is about."""
    lines = path.read_text().splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_was_once_of_interest_stays_harmless(path: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# ")
    detail = check(path.parent.name, bytes_of(path), memory=True)
    assert (detail or "decodes") == expected


@pytest.mark.parametrize("name", CASES)
def test_records_that_are_almost_right_are_events_or_dead_letters(name: str) -> None:
    rng = random.Random(f"{SEED}/{name}")
    avro = prepared(name)[2]
    for number in range(FRESH):
        pieces, other = valid(avro, rng), valid(avro, rng)
        assert_harmless(name, b"".join(pieces), traced=number < TRACED)
        assert_harmless(name, spoilt(pieces, other, rng), traced=number < TRACED)


def assert_harmless(name: str, data: bytes, *, traced: bool) -> None:
    """A failure gives the record, as a file of the corpus would have it."""
    try:
        check(name, data, memory=traced)
    except Exception as error:
        error.add_note(f"case {name}, seed {SEED} (set FUZZ_SEED to run it again):\n{data.hex()}")
        raise

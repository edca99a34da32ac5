"""Hostile bytes: the kept corpus, and fresh, almost valid records for a few seconds."""

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
LONG = "nulls-262144"  # as many values as a record may have, each traced
FRESH = 250  # records for each case, so that all cases together take a few seconds
TRACED = 25  # of these, how many are checked with memory traced
SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))


def bytes_of(path: Path) -> bytes:
    """Reads a file of the corpus: hexadecimal text, and comment lines that begin with #."""
    lines = path.read_text().splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] if path.stem == LONG else []) for path in CORPUS],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_a_kept_record_is_harmless_and_gives_the_outcome_in_its_first_line(path: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# ")
    detail = check(path.parent.name, bytes_of(path), memory=True)
    assert (detail or "decodes") == expected


@pytest.mark.parametrize("name", CASES)
def test_almost_valid_records_are_events_or_dead_letters(name: str) -> None:
    rng = random.Random(f"{SEED}/{name}")
    avro = prepared(name)[2]
    for number in range(FRESH):
        pieces, other = valid(avro, rng), valid(avro, rng)
        assert_harmless(name, b"".join(pieces), traced=number < TRACED)
        assert_harmless(name, spoilt(pieces, other, rng), traced=number < TRACED)


def assert_harmless(name: str, data: bytes, *, traced: bool) -> None:
    """Checks a record. A failure prints it in hexadecimal, to be kept as a file of the corpus."""
    try:
        check(name, data, memory=traced)
    except Exception as error:
        error.add_note(f"case {name}, seed {SEED} (set FUZZ_SEED to run it again):\n{data.hex()}")
        raise

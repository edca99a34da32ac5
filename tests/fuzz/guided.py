"""The same checks under a fuzzer that coverage guides: `scripts/fuzz`.

The first byte of an input chooses the case, the rest is the record. Most inputs are libFuzzer's own mutations of its
corpus. Some come from `mutate`: almost valid records, which random bytes would take very long to become.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["worker.core"]):
    from tests.fuzz.cases import CASES, prepared
    from tests.fuzz.mutate import spoilt, valid
    from tests.fuzz.oracle import check
    from tests.fuzz.test_fuzz import CORPUS, bytes_of

_NAMES = tuple(CASES)
_FRESH = 20  # valid records of each case to begin with
_STRUCTURED = 0.2  # the share of mutations that `mutate` makes


def _judge(data: bytes) -> None:
    if data:
        check(_NAMES[data[0] % len(_NAMES)], data[1:])


def _mutate(data: bytes, max_size: int, seed: int) -> bytes:
    rng = random.Random(seed)
    if not data or rng.random() > _STRUCTURED:
        mutated: bytes = atheris.Mutate(data, max_size)
        return mutated
    avro = prepared(_NAMES[data[0] % len(_NAMES)])[2]
    return data[:1] + spoilt(valid(avro, rng), valid(avro, rng), rng)[: max_size - 1]


def _seeds(directory: Path) -> None:
    for path in CORPUS:
        start = bytes([_NAMES.index(path.parent.name)])
        (directory / f"kept-{path.parent.name}-{path.stem}").write_bytes(start + bytes_of(path))
    for number, name in enumerate(_NAMES):
        for fresh in range(_FRESH):
            data = b"".join(valid(prepared(name)[2], random.Random(fresh)))
            (directory / f"fresh-{name}-{fresh}").write_bytes(bytes([number]) + data)


if __name__ == "__main__":
    # The arguments are libFuzzer's own. The last one is the directory of its corpus, which grows there.
    _seeds(Path(sys.argv[-1]))
    atheris.Setup(sys.argv, _judge, custom_mutator=_mutate)
    atheris.Fuzz()

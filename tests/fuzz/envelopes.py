"""Makes envelopes: what a producer may set about a record beside its value. And what the worker must carry over."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.fuzz.mutate import CANARY

Header = tuple[bytes, bytes | None]

_CANARY = CANARY.encode()
_TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_NAMES = (
    b"traceparent", b"traceparent", b"tracestate", b"TraceParent", b"traceparent\0x", b"\0", b"", b"reason", b"detail",
    b"source.topic", b"source.partition", b"source.offset", b"__value_schema_id", b"content-type", _CANARY,
    "größe\u202e\ufeff".encode(), b"\xff\xfe", b"trace\xc0parent", b"\xed\xa0\x80",
)  # fmt: skip
_BAD_NAMES = 3  # the last ones are not UTF-8; one of them hides all other headers
_TIMES = (
    -1, 0, 1, -2, -(2**31), 2**31, -(2**40), 2**53, 2**62, 2**63 - 1, -(2**63), -62_135_596_800_000,
    -62_135_596_800_001, 253_402_300_799_999, 253_402_300_800_000, 1_700_000_000_000,
)  # fmt: skip
_TRACE_BYTES_MAX = 512
_LARGEST_BYTES = 900_000
_RARE = 0.004


def key(rng: random.Random) -> bytes | None:
    """Mostly what names a user; else nothing, noise, or something large."""
    makers: tuple[Callable[[], bytes | None], ...] = (
        lambda: None,
        lambda: b"",
        lambda: b"\0",
        lambda: _CANARY + b"%d" % rng.randrange(9),
        lambda: rng.randbytes(rng.randrange(300)),
        lambda: rng.randbytes(rng.randrange(3_000)),
    )
    return rng.randbytes(rng.randrange(_LARGEST_BYTES)) if rng.random() < _RARE else rng.choice(makers)()


def headers(rng: random.Random) -> tuple[Header, ...]:
    """A few headers, none, or very many; now and then a large one."""
    count = rng.choice((1_000, 20_000)) if rng.random() < _RARE else rng.choice((0, 0, 1, 1, 2, 3, 5, 9))
    names = _NAMES if rng.random() < 0.3 else _NAMES[:-_BAD_NAMES]
    made = [(rng.choice(names), _value(rng)) for _ in range(count)]
    if rng.random() < 4 * _RARE:
        made.append((rng.randbytes(rng.randrange(300)), b"x"))
    if rng.random() < _RARE:
        made.insert(0, (rng.choice((b"traceparent", b"n" * rng.randrange(_LARGEST_BYTES))), b"t" * 300_000))
    return tuple(made)


def timestamp_ms(rng: random.Random) -> int | None:
    """Any 64 bits, since nobody checks them. None: the producer's clock."""
    return rng.choice((None, rng.choice(_TIMES), rng.randint(-(2**63), 2**63 - 1) >> rng.randrange(63)))


def carried(sent: tuple[Header, ...], *, of_record: bool) -> list[tuple[str, bytes | None]]:
    """The headers that a dead letter must carry over: each trace header once, unless it is large.

    `of_record`: it is about a whole record. Then it also tells what named the schema.

    A name ends at a zero byte, as C reads it. If a name is not UTF-8, none can be read.
    """
    try:
        found = {name.partition(b"\0")[0].decode(): value for name, value in sent}
    except UnicodeDecodeError:
        return []
    traces = [(name, value) for name, value in found.items() if name in {"traceparent", "tracestate"}]
    named = [("source." + name, value) for name, value in found.items() if name == "__value_schema_id" and of_record]
    return [(name, value) for name, value in [*traces, *named] if len(value or b"") <= _TRACE_BYTES_MAX]


def _value(rng: random.Random) -> bytes | None:
    if rng.random() < 0.1:
        return rng.randbytes(rng.choice((511, 512, 513)))
    return rng.choice((None, b"", _TRACE, _CANARY, b"\xff", rng.randbytes(rng.randrange(40))))

"""Two cores: one for the worker or peer that is measured, one for the broker, the destination and the bench itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_TWO = 2


def pin() -> bool:
    """Moves this process, and all that it starts from now on, to the second core. False if there are no two cores."""
    if not hasattr(os, "sched_setaffinity") or len(allowed := sorted(os.sched_getaffinity(0))) < _TWO:
        return False
    _measured[:], others = allowed[:1], allowed[1]
    os.sched_setaffinity(0, {others})
    return True


@contextmanager
def measured() -> Iterator[None]:
    """What is started within runs on the first core."""
    if not _measured:
        yield
        return
    others = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _measured)
    try:
        yield
    finally:
        os.sched_setaffinity(0, others)


_measured: list[int] = []

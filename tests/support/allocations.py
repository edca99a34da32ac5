"""What Python allocates while a test looks."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_UNDISTURBED_SECONDS = 60.0


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Gives a function: how many bytes are allocated since, and still in use.

    Other threads stand still meanwhile. An earlier test may have left one, and what it allocates would count.
    """
    interval = sys.getswitchinterval()
    gc.collect()
    sys.setswitchinterval(_UNDISTURBED_SECONDS)
    tracemalloc.start()
    try:
        yield _in_use
    finally:
        tracemalloc.stop()
        sys.setswitchinterval(interval)


def _in_use() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]

"""What keeps a bench from its figures, and how it is said."""

from __future__ import annotations

import sys
from collections.abc import Callable

import httpx
from confluent_kafka import KafkaException

from bench.compiled import NotBuilt
from bench.contenders import NotMeasured
from tests.support.java import Unavailable

PROBLEMS = (
    NotMeasured,
    NotBuilt,
    Unavailable,
    AssertionError,
    RuntimeError,
    ValueError,
    httpx.HTTPError,
    KafkaException,
    OSError,
)
"""What a bench needs is missing, or it did not do what was to be measured."""


def told(measure: Callable[[], int]) -> int:
    """Measures. Returns the exit status: 1, after a sentence on stderr, if something could not be measured."""
    try:
        return measure()
    except PROBLEMS as problem:
        print(f"Error: {text(problem)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted: nothing was measured.", file=sys.stderr)
    return 1


def text(problem: Exception) -> str:
    """For people."""
    return str(problem) or type(problem).__name__

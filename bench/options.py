"""What the benches' command lines have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable

REPETITIONS_MAX = 100


def count(most: int) -> Callable[[str], int]:
    """How many of something: at least one, and so many at most."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = 0
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(f"it takes a whole number from 1 to {most:,}")
        return number

    return read


repetitions = count(REPETITIONS_MAX)
many = count(1_000_000)
"""Events or calls: as many as the memory takes."""

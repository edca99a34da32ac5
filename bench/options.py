"""What the benches' command lines have in common."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """How many of something: at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number

"""A count with its noun, for people."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """As `1 user` or `1,200 users`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

"""Checks of the receipts' topic. What is wrong with it is a warning: the worker delivers without receipts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from worker.commands.check.finding import ASK_SECONDS, Finding
from worker.kafka.access import creation_problem, write_problem
from worker.kafka.topics import Admin, TopicRefused, TopicsUnavailable, compaction_problem, exists

_CHECK: Final = "receipts"
_LOST: Final = "receipts would be lost, and calls go on"


def check_receipts(admin: Admin, topic: str | None, partitions: int) -> Iterator[Finding]:
    """One line that says whether it can be written. None if no receipts are wanted."""
    if topic is None:
        return
    try:
        yield _existing(admin, topic) if exists(admin, topic, ASK_SECONDS) else _new(admin, topic, partitions)
    except TopicRefused as problem:
        mend = "grant the worker WRITE on it, and CREATE if it does not exist"
        yield Finding.warn(_CHECK, f"{problem}; {_LOST}", mend)
    except TopicsUnavailable as problem:
        yield Finding.warn(_CHECK, str(problem))


def _existing(admin: Admin, topic: str) -> Finding:
    problem = write_problem(admin, topic, ASK_SECONDS)
    compacted = None if problem else compaction_problem(admin, topic, "it takes no record without a key", ASK_SECONDS)
    if (why := problem or compacted) is not None:
        return Finding.warn(_CHECK, f"{why}; {_LOST}")
    return Finding.ok(_CHECK, f"{topic}: may be written")


def _new(admin: Admin, topic: str, partitions: int) -> Finding:
    why = creation_problem(admin, topic, partitions, ASK_SECONDS)
    if why is None:
        return Finding.ok(_CHECK, f"{topic}: does not exist; the worker may create it, and does when it starts")
    mend = f"create it with {partitions} partitions, or grant the worker CREATE"
    return Finding.warn(_CHECK, f"{topic}: does not exist, and cannot be created: {why}; {_LOST}", mend)

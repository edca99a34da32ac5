"""How a replay begins: anew, or where an earlier process of the same name stopped."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto
from typing import Final

from worker.core.model import Partition
from worker.core.replay.progress import Progress
from worker.core.replay.scope import Offsets
from worker.jobs.diary import Begun
from worker.jobs.spans import ASK_SECONDS, Reach
from worker.jobs.users import Identifier
from worker.jobs.when import Unreadable
from worker.kafka.topics import Admin, exists

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_DIGEST_BYTES: Final = 4
"""Few, so that nobody finds out a user by it."""


class Beginning(Enum):
    """How it begins."""

    ANEW = auto()
    AGAIN = auto()  # goes on
    FINISHED = auto()  # nothing is left


def name_of(given: str | None, typed: Mapping[str, object]) -> str:
    """The job's name: the given one, or one made of the options as they were typed.

    Raises:
        Unreadable: The name cannot be a part of a group's name.
    """
    if given is None:
        return f"replay-{_digest(typed)}"
    if _NAME.fullmatch(given) is None:
        raise Unreadable(f"--name {given!r}: use at most 100 letters, digits, dots, dashes and underscores")
    return given


def filters_of(users: Collection[Identifier] | None, attributes: Sequence[str]) -> str:
    """A digest of the users and attributes that are chosen."""
    return _digest({"users": None if users is None else sorted(map(tuple, users)), "attributes": sorted(attributes)})


def decide(found: Begun | None, wanted: Begun, *, restart: bool) -> tuple[Beginning, Begun]:
    """How the job `wanted` begins, after what is written down of one with this name.

    Raises:
        Unreadable: One with this name was begun with other users or attributes, and is not finished.
    """
    if found is None or restart:
        return Beginning.ANEW, wanted
    if not found.progress.done:
        if found.filters != wanted.filters:
            raise Unreadable(
                "a replay of this name was begun with other users or attributes, and is not finished: "
                "start it with those, choose another --name, or begin anew with --restart"
            )
        return Beginning.AGAIN, found
    same = found.ranges == wanted.ranges and found.filters == wanted.filters
    return (Beginning.FINISHED, found) if same else (Beginning.ANEW, wanted)


def wanted(reaches: Mapping[Partition, Reach], filters: str) -> Begun:
    """A replay of these ranges that has not begun."""
    return Begun({each: Offsets(reach.start, reach.stop) for each, reach in reaches.items()}, filters, Progress())


def prove_dead_letters(admin: Admin, topic: str) -> None:
    """Proves, before any call, that there is a topic for what the destination refuses.

    Raises:
        Unreadable: There is none.
        TopicsUnavailable: The brokers do not answer.
    """
    if not exists(admin, topic, ASK_SECONDS):
        raise Unreadable(f"the dead-letter topic {topic} does not exist: `run` creates it")


def _digest(what: Mapping[str, object]) -> str:
    text = json.dumps(what, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()

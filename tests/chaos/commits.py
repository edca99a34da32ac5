"""The group's commits of a run: none may pass a change that is neither delivered nor in a dead letter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from io import BytesIO
from math import inf
from typing import NamedTuple

from tests.chaos.history import History, Item
from tests.chaos.letters import Lettered
from tests.chaos.reading import messages

OFFSETS_TOPIC = "__consumer_offsets"
_KEYS_OF_OFFSETS = (0, 1)  # versions; other keys tell of the group's members


class Commit(NamedTuple):
    """An offset that the brokers took. `at`: when, in epoch seconds."""

    partition: int
    offset: int
    at: float


def judge_commits(commits: Sequence[Commit], history: History, letters: Lettered) -> Iterator[str]:
    """The values that a commit passed before they were settled.

    A value is settled if it, or one that supersedes it, was applied or in a dead letter by then, or lay in the topic
    behind the committed offset, where the next owner would begin.
    """
    by_partition: dict[int, list[Item]] = defaultdict(list)
    for item in history.clear():
        by_partition[item.partition].append(item)
    for partition, items in by_partition.items():
        items.sort(key=lambda item: item.offset)
        passed = 0
        for commit in sorted((commit for commit in commits if commit.partition == partition), key=lambda each: each.at):
            while passed < len(items) and items[passed].offset < commit.offset:
                item = items[passed]
                if not _is_settled(item, commit, history, letters):
                    yield f"{item}, when {commit.offset} was committed at {commit.at:.3f}"
                passed += 1


def _is_settled(item: Item, commit: Commit, history: History, letters: Lettered) -> bool:
    return any(
        history.applied_at.get(heir.place, inf) <= commit.at
        or letters.at.get(heir.place, inf) <= commit.at
        or (heir.offset >= commit.offset and heir.at <= commit.at)
        for heir in history.heirs(item)
    )


def read_commits(bootstrap_servers: str, group_id: str, topic: str) -> list[Commit]:
    """Every commit of the group's offsets of the topic, from the topic in which the brokers keep them."""
    commits = []
    for message in messages(bootstrap_servers, OFFSETS_TOPIC):
        value, key = message.value(), BytesIO(message.key())
        if value is None or _number(key, 2) not in _KEYS_OF_OFFSETS or (_text(key), _text(key)) != (group_id, topic):
            continue
        # In every version the value begins with its version and the offset.
        commits.append(Commit(_number(key, 4), int.from_bytes(value[2:10], "big"), message.timestamp()[1] / 1000))
    return commits


def _number(encoded: BytesIO, size: int) -> int:
    return int.from_bytes(encoded.read(size), "big", signed=True)


def _text(encoded: BytesIO) -> str:
    return encoded.read(_number(encoded, 2)).decode()

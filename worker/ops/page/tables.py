"""The page's tables. All text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import Final

from worker.ops.page.words import NONE, duration
from worker.ops.status import DeadLetter, PartitionStatus

_LINE_CHARACTERS: Final = 16


def counts(title: str, label: str, found: Mapping[str, int], *, nothing: str) -> str:
    """How often each was counted; those that were never are left out."""
    rows = [_row([key], [f"{count:,}"]) for key, count in sorted(found.items()) if count]
    return _table(title, _head([label], ["count"]), rows, nothing=nothing)


def partitions(found: Iterable[PartitionStatus]) -> str:
    """How far each partition has come."""
    head = _head(["topic", "partition"], ["lag", "oldest undelivered", "committed", "position", "end", "reading"])
    rows = [_row([each.topic, str(each.partition)], _partition_cells(each)) for each in found]
    return _table("Partitions", head, rows, nothing="None assigned.")


def _partition_cells(partition: PartitionStatus) -> list[str]:
    age = partition.oldest_undelivered_seconds
    offsets = (partition.committed, partition.position, partition.end)
    return [
        NONE if partition.lag is None else f"{partition.lag:,}",
        NONE if age is None else duration(age),
        *(NONE if offset is None else f"{offset:,}" for offset in offsets),
        "paused" if partition.paused else "yes",
    ]


def latest_letters(letters: Iterable[DeadLetter], now: datetime) -> str:
    """Why, where from and which attributes; no value."""
    rows = [
        _row(
            [letter.reason, _source(letter), ", ".join(letter.attributes) or NONE],
            [f"{duration((now - letter.at).total_seconds())} ago"],
        )
        for letter in letters
    ]
    head = _head(["reason", "source", "attributes"], ["written"])
    return _table("Latest dead letters", head, rows, nothing="None.")


def _source(letter: DeadLetter) -> str:
    return NONE if letter.topic is None else f"{letter.topic}-{letter.partition}@{letter.offset}"


def settings(values: Mapping[str, str]) -> str:
    """The effective settings that matter, by their names."""
    rows = [_row(pair, []) for pair in values.items()]
    return _table("Settings", _head(["setting", "value"], []), rows, nothing="Not known.")


def _head(names: Iterable[str], numbers: Iterable[str]) -> str:
    left = "".join(f'<th scope="col" class="name">{name}</th>' for name in names)
    return left + "".join(f'<th scope="col">{name}</th>' for name in numbers)


def _row(names: Iterable[str], cells: Iterable[str]) -> str:
    first, *others = names
    left = f'<th scope="row" class="name{_fit(first)}">{escape(first)}</th>'
    left += "".join(f'<td class="name{_fit(name)}">{escape(name)}</td>' for name in others)
    return left + "".join(f"<td>{escape(cell)}</td>" for cell in cells)


def _fit(text: str) -> str:
    """The class of a cell whose text is so long that it may take several lines."""
    return " long" if len(text) > _LINE_CHARACTERS else ""


def _table(title: str, head: str, rows: Iterable[str], *, nothing: str) -> str:
    anchor = title.lower().replace(" ", "-")
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    if not body:
        return f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{title}</h2><p>{nothing}</p></section>'
    # Focusable, so that a keyboard can scroll it where the screen is narrow.
    return f"""<section class="scroll" tabindex="0" aria-labelledby="{anchor}">
<table><caption><h2 id="{anchor}">{title}</h2></caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></section>"""

"""Times, durations and sizes for people."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from worker.ops.status import rfc3339

NONE: Final = "–"  # noqa: RUF001 - an en dash stands for a missing value
_KIBIBYTE: Final = 1024


def duration(seconds: float) -> str:
    """A duration for people: its two largest units, without the smaller one if it is 0."""
    whole = int(max(seconds, 0))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (left, "s"))
    first = next((at for at, (count, _) in enumerate(units) if count), len(units) - 1)
    largest, *smaller = units[first : first + 2]
    return " ".join(f"{count} {unit}" for count, unit in (largest, *(pair for pair in smaller if pair[0])))


def size(count: float) -> str:
    """A number of bytes for people, in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if count < _KIBIBYTE:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIBIBYTE
    return f"{count:.1f} GiB"


def per_second(rate: float) -> str:
    """A rate for people."""
    return f"{rate:.3g}/s" if rate < 100 else f"{rate:,.0f}/s"  # noqa: PLR2004 - above it, three digits are whole ones


def moment(at: datetime) -> str:
    """A moment as an element."""
    return f'<time datetime="{rfc3339(at)}">{rfc3339(at)}</time>'

"""A replay's progress as text, for Kafka's commit metadata: at most 4 KiB, also with all marks."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Final

from worker.core.replay.replay import Progress

BYTES_MAX: Final = 4_096
_VERSION: Final = 1
_PLACE_BYTES: Final = 8


def text_of(progress: Progress, name: str, digest: str) -> str:
    """The note of a job of this name, over a range with this digest."""
    return json.dumps(
        {
            "v": _VERSION,
            "job": name,
            "range": digest,
            "lower": str(progress.lower),
            "delivered": _packed(progress.delivered),
            "unverified": _packed(progress.unverified),
            "done": progress.done,
        },
        separators=(",", ":"),
    )


def progress_of(text: str, digest: str) -> Progress | None:
    """The progress in a note. None if it is of another range, of a later version, or no note at all."""
    try:
        note = json.loads(text)
        if note["v"] != _VERSION or note["range"] != digest:
            return None
        return Progress(
            int(note["lower"]), _unpacked(note["delivered"]), _unpacked(note["unverified"]), bool(note["done"])
        )
    except (ValueError, KeyError, TypeError):
        return None


def _packed(places: Iterable[int]) -> str:
    data = b"".join(place.to_bytes(_PLACE_BYTES, "big") for place in sorted(places))
    return base64.b85encode(data).decode()


def _unpacked(text: str) -> frozenset[int]:
    data = base64.b85decode(text)
    return frozenset(
        int.from_bytes(data[at : at + _PLACE_BYTES], "big") for at in range(0, len(data), _PLACE_BYTES)
    )

"""How far a replay has come, in Kafka: any later process of the same name goes on from there.

Each partition of the range has a note in the job's own group: the offset is the range's end, the text has its start.
The first partition's note also has the progress, in at most 4 KiB.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from worker.core.model import Partition
from worker.core.replay.progress import Progress
from worker.core.replay.scope import Offsets
from worker.kafka.notebook import Note, Notebook

_VERSION: Final = 2  # another one as soon as users get other places
_PLACE_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Begun:
    """A replay as it was begun.

    Attributes:
        ranges: what it replays of each partition.
        filters: a digest of what was chosen.
        progress: how far it has come.
    """

    ranges: Mapping[Partition, Offsets]
    filters: str
    progress: Progress


def notes_of(begun: Begun) -> dict[Partition, Note]:
    """Everything about it, for its first write."""
    starts: dict[Partition, dict[str, object]] = {
        each: {"v": _VERSION, "from": of.start} for each, of in begun.ranges.items()
    }
    first, progress = min(starts), begun.progress
    starts[first] |= {
        "partitions": len(starts),
        "filters": begun.filters,
        "begun": str(progress.begun),  # it has 64 bits: too many for other readers of JSON
        "open": _packed(progress.open),
        "unverified": _packed(progress.unverified),
        "done": progress.done,
    }
    return {
        each: Note(begun.ranges[each].stop, json.dumps(text, separators=(",", ":"))) for each, text in starts.items()
    }


def begun_of(notes: Mapping[Partition, Note]) -> Begun | None:
    """The replay that these notes tell of. None if they tell of none that this version can go on with."""
    try:
        texts: dict[Partition, Any] = {each: json.loads(note.text) for each, note in notes.items()}
        [head] = [text for text in texts.values() if "partitions" in text]
        known = {each: text for each, text in texts.items() if text["v"] == _VERSION}
        if len(known) < head["partitions"]:
            return None
        return Begun(
            {each: Offsets(int(text["from"]), notes[each].offset) for each, text in known.items()},
            str(head["filters"]),
            Progress(int(head["begun"]), _unpacked(head["open"]), _unpacked(head["unverified"]), bool(head["done"])),
        )
    except (ValueError, KeyError, TypeError):
        return None


class Diary:
    """Writes progress down whenever it has changed, one write at a time.

    Attributes:
        unsaved: users that are delivered, and not yet written down: a process that is killed now sends them again.
    """

    def __init__(self, notebook: Notebook | None, begun: Begun, *, anew: bool) -> None:
        """`begun` is what the notebook says already, or, `anew`, what it has to say first.

        Without a notebook nothing is written down: a job that begins anew at each start.
        """
        self._notebook = notebook
        self._anew = anew
        self._begun = begun
        self._writing: tuple[Progress, int] | None = None
        self._marked = 0
        self.unsaved = 0

    def turn(self, progress: Progress, marked: int) -> None:
        """This is the progress, with so many users marked as delivered since the start."""
        if self._notebook is None:
            self._begun = replace(self._begun, progress=progress)
            return
        if self._writing is not None and not self._notebook.under_way:
            written, count = self._writing
            self._writing = None
            if self._notebook.problem is None:
                self._begun, self._marked, self._anew = replace(self._begun, progress=written), count, False
        if self._writing is None and not self.is_kept(progress):
            notes = notes_of(replace(self._begun, progress=progress))
            first = min(notes)
            self._writing = progress, marked
            self._notebook.write(notes if self._anew else {first: notes[first]})
        self.unsaved = marked - self._marked

    @property
    def kept(self) -> Progress | None:
        """The progress that is written down, or that need not be. None if nothing is yet."""
        return None if self._anew and self._notebook is not None else self._begun.progress

    def is_kept(self, progress: Progress) -> bool:
        """Whether this progress is written down."""
        return self._notebook is None or (self._writing is None and self.kept == progress)

    @property
    def problem(self) -> str | None:
        """Why it cannot be written down, in words. None if it can."""
        return None if self._notebook is None else self._notebook.problem


def _packed(places: Iterable[int]) -> str:
    return base64.b85encode(b"".join(place.to_bytes(_PLACE_BYTES, "big") for place in sorted(places))).decode()


def _unpacked(text: str) -> frozenset[int]:
    data = base64.b85decode(text)
    return frozenset(int.from_bytes(data[at : at + _PLACE_BYTES], "big") for at in range(0, len(data), _PLACE_BYTES))

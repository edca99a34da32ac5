"""From an open letter to what is to be sent of it, or why nothing is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from worker.core.events.decode import Decoder
from worker.core.events.reading import Content, NeedsSchema, read
from worker.core.letters.values import compact
from worker.core.model import Checked, Event, Letter, LostAttribute, Reason, Record, Refusal, Source, UserKey
from worker.core.replay.errand import Errand, Part
from worker.core.rules.preflight import Preflight
from worker.jobs.redrive.live_workers import LiveWorkers
from worker.jobs.redrive.sources import Sources
from worker.jobs.unfinished import Unfinished
from worker.live.ports import Schemas

_SCHEMA_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 0.02
_UNNAMED: Final = frozenset({Reason.NO_IDENTITY, Reason.INVALID_IDENTITY})


@dataclass(frozen=True, slots=True)
class Skipped:
    """A letter that cannot be delivered. `why` says so of several: `they …`."""

    why: str


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A letter of which nobody knows whether its values may be the last ones. `why` is a sentence."""

    why: str


Wanted: TypeAlias = tuple[UserKey, Errand]

CUT: Final = Skipped("they were cut to fit their topic")
UNDECODED: Final = Skipped("they hold records that could not be decoded: --raw tries these again")
STILL_UNDECODABLE: Final = Skipped("their records cannot be decoded today, either")
EMPTY: Final = Skipped("they name no attribute")
NOBODY: Final = Skipped("they name no user that can be addressed")
WITHHELD: Final = Skipped("a value was left out of them by policy")
NOTHING_TO_SEND: Final = Skipped("the rules refuse what they say, or pass it over")


class Errands:
    """Tells what is to be sent of each letter.

    Args:
        preflight: today's rules.
        sources: the logs that the letters came from.
        live_workers: whether they are done with the letters' records.
        decode: decodes a record again. None: records that could not be decoded are skipped.
        force: also letters that cannot be checked.
    """

    def __init__(
        self,
        preflight: Preflight,
        sources: Sources,
        live_workers: LiveWorkers,
        decode: Callable[[Record], Content] | None,
        *,
        force: bool,
    ) -> None:
        self._preflight = preflight
        self._sources = sources
        self._live_workers = live_workers
        self._decode = decode
        self._force = force

    def of(self, letter: Letter) -> Wanted | Skipped | Unchecked:
        """What is to be sent of a letter.

        Raises:
            Unfinished: Nobody says what the schema of its record is.
            TopicsUnavailable: The brokers do not say where its source begins and ends.
            GroupUnavailable: The brokers do not say what live workers have committed.
        """
        if letter.cut:
            return CUT
        event = self._decoded(letter) if letter.reason is Reason.UNDECODABLE else _event(letter)
        if isinstance(event, Skipped):
            return event
        checked = self._preflight.check(event)
        if checked.key is None:
            return NOBODY
        if not checked.accepted:
            return NOTHING_TO_SEND
        why = self._fault(letter)
        if why is not None and not (self._force and self._sources.partitions):
            return Unchecked(why)
        return checked.key, self._errand(letter, event, checked)

    def _fault(self, letter: Letter) -> str | None:
        """Why nobody can tell whether what it says may be the last word. None if that can be told."""
        if not letter.sources:
            return "they name no source"
        return self._sources.fault(letter.sources) or self._live_workers.fault(letter.sources)

    def _decoded(self, letter: Letter) -> Event | Skipped:
        if self._decode is None:
            return UNDECODED
        if letter.record_value is None or not letter.sources:
            return STILL_UNDECODABLE
        source = letter.sources[0]
        record = Record(
            source.partition,
            source.offset,
            source.timestamp_ms,
            letter.record_key,
            letter.record_value,
            letter.headers,
        )
        content = self._decode(record)
        return content if isinstance(content, Event) else STILL_UNDECODABLE

    def _errand(self, letter: Letter, event: Event, checked: Checked) -> Errand:
        lost = {each.name: each for each in letter.attributes} or _lost(event, letter.sources[0])
        parts = [
            Part(lost[name], value, self._sources.place(_source(letter, lost[name])))
            for name, value in checked.accepted.items()
        ]
        bare = replace(letter, record_value=None)
        beside = [_letter_of(refusal, bare, lost, event) for refusal in checked.refusals]
        return Errand(bare, checked.user, parts, beside)


def _event(letter: Letter) -> Event | Skipped:
    """What the letter says, as an event."""
    if not letter.attributes:
        return EMPTY
    if letter.user is None:
        return NOBODY
    # A denied value is left out of a letter: its null must not become a value if the rules are others today.
    denied = letter.reason in _UNNAMED and any(each.value is None for each in letter.attributes)
    if denied or letter.reason is Reason.SENSITIVE_DATA:
        return WITHHELD
    return Event(letter.user, {each.name: each.value for each in letter.attributes})


def _lost(event: Event, source: Source) -> dict[str, LostAttribute]:
    return {
        name: LostAttribute(name, compact(value), event.occurred_at_ms, source.partition, source.offset)
        for name, value in event.attributes.items()
    }


def _source(letter: Letter, lost: LostAttribute) -> Source:
    """The record that an attribute came from."""
    for source in letter.sources:
        if (source.partition, source.offset) == (lost.partition, lost.offset):
            return source
    # Somebody else wrote the letter. The earliest time is the safe one: more of the log counts as later.
    earliest = min((source.timestamp_ms for source in letter.sources), default=0)
    return Source(lost.partition, lost.offset, earliest)


def _letter_of(refusal: Refusal, letter: Letter, lost: Mapping[str, LostAttribute], event: Event) -> Letter:
    """A letter of its own for what today's rules refuse of a letter."""
    refused = tuple(replace(lost[name], value=compact(value)) for name, value in refusal.attributes.items())
    places = {(each.partition, each.offset) for each in refused}
    return replace(
        letter,
        id="",
        reason=refusal.reason,
        detail=refusal.detail,
        attempts=0,
        sources=tuple(source for source in letter.sources if (source.partition, source.offset) in places),
        user=event.user,
        attributes=refused,
        answer=None,
        worker=None,
    )


class Decoding:
    """Decodes records again, and waits for their schemas.

    Args:
        schemas: None if all records have one schema.
        stopped: whether to wait no longer.
    """

    def __init__(self, decoder: Decoder, schemas: Schemas | None, stopped: Callable[[], bool]) -> None:
        self._decoder = decoder
        self._schemas = schemas
        self._stopped = stopped

    def __call__(self, record: Record) -> Content:
        """What a record says.

        Raises:
            Unfinished: Nobody says what its schema is.
        """
        deadline = time.monotonic() + _SCHEMA_SECONDS
        while isinstance(content := read(record, self._decoder), NeedsSchema):
            if self._schemas is None or self._stopped() or time.monotonic() > deadline:
                waits = None if self._schemas is None else self._schemas.waiting()
                raise Unfinished(waits or f"schema {content.schema_id} did not come")
            self._schemas.request(content.schema_id)
            time.sleep(_PAUSE_SECONDS)
            for schema_id, schema in self._schemas.answers():
                self._decoder.add(schema_id, schema)
        return content

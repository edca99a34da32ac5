"""What the newest records would become: `check` runs them through decode, mapping and preflight, and counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from worker.core.avro.schema import AvroType, InvalidSchema
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.events.reading import Content, NeedsSchema, PassedOver, Unreadable, read
from worker.core.model import Checked, Event, Reason, Record, Scalar, SchemaId, User
from worker.core.rules.policy import DEBEZIUM_UNAVAILABLE, AttributeRules, unmatched
from worker.core.rules.preflight import Preflight
from worker.jobs.framed import SchemaOf

EXAMPLES_MAX: Final = 5
CALL: Final = "make a call"
NOTHING: Final = "have nothing to send"
SKIPPED: Final = "are skipped by the mapping's rules"
TOMBSTONE: Final = "have no value"
_NAMES_MAX: Final = 10_000
"""Bound of the names of attributes that are kept: keys of maps may be anything."""
_SCHEMAS_ASKED_MAX: Final = 2  # of one record: its value's and its key's


@dataclass(frozen=True, slots=True)
class Example:
    """What one record would become: the kinds of its identifiers, and its attributes' types. No value."""

    where: str
    identifiers: tuple[str, ...]
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of the settings."""

    mapping: FieldMapping
    attributes: AttributeRules


class Rehearsal:
    """Takes records one by one. It keeps no value of any.

    Args:
        decoder: as `run` has it.
        plain: one whose mapping renames and excludes nothing, to learn the names that patterns are meant for.
        preflight: as `run` has it.
        rules: whose patterns are looked at.
        schema_of: gives the schemas that records name.

    Attributes:
        outcomes: how many records became what.
        beside: how many of those that make a call make a letter as well, by its reason.
        details: of each reason for a letter, the latest position and detail.
        fates: what became of attributes, each with the records in which it did.
        examples: what the first records become that make a call.
        columns: fields beside the attributes that are none, with why.
    """

    def __init__(
        self, decoder: Decoder, plain: Decoder, preflight: Preflight, rules: Rules, schema_of: SchemaOf
    ) -> None:
        self._decoder = decoder
        self._plain = plain
        self._preflight = preflight
        self._rules = rules
        self._schema_of = schema_of
        self._schemas: dict[SchemaId, object | None] = {}
        self._names: set[str] = set()  # in the event, before exclude, rename and prefix
        self._named: set[str] = set()  # as the rules of attributes see them
        self._unknown: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        self.beside: Counter[str] = Counter()
        self.details: dict[str, str] = {}
        self.fates: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.examples: list[Example] = []
        self.columns: dict[str, str] = {}

    @property
    def failing(self) -> int:
        """How many records would be dead letters as a whole, or lose all that they have to say."""
        return sum(count for outcome, count in self.outcomes.items() if outcome in set(Reason))

    @property
    def speaking(self) -> int:
        """How many records are neither tombstones nor skipped."""
        return self.outcomes.total() - self.outcomes[SKIPPED] - self.outcomes[TOMBSTONE]

    def take(self, record: Record) -> None:
        """Runs a record through.

        Raises:
            Unfinished: Its schema is not to be had now.
        """
        where = f"{record.partition.topic}/{record.partition.number}:{record.offset}"
        match self._read(record, self._decoder):
            case PassedOver(tombstone=True):
                self.outcomes[TOMBSTONE] += 1
            case PassedOver():
                self.outcomes[SKIPPED] += 1
            case Unreadable(detail):
                self._failed(Reason.UNDECODABLE, detail, where)
            case Event() as event:
                self._take(event, where)
        if isinstance(found := self._read(record, self._plain), Event):
            self._learn(found)

    def unmatched(self) -> Iterator[tuple[str, str]]:
        """The patterns that match nothing in the records and their schemas, each with its variable.

        If no record could be read, nothing is known of its names.
        """
        mapping, attributes = self._rules.mapping, self._rules.attributes
        for name, pattern in unmatched(attributes, self._named) if self._named else ():
            yield f"WORKER_ATTRIBUTES__{name.upper()}", pattern
        for pattern in mapping.exclude if self._names else ():
            if not any(fnmatchcase(name, pattern) for name in self._names):
                yield "WORKER_MAPPING__EXCLUDE", pattern
        for name in mapping.rename if self._names else ():
            if name not in self._names:
                yield "WORKER_MAPPING__RENAME", name
        seen = [avro for schema in self._schemas.values() if (avro := _avro(schema)) is not None]
        for pattern in mapping.types if seen else ():
            if not any(replace(mapping, types=(pattern,)).takes(avro) for avro in seen):
                yield "WORKER_MAPPING__TYPES", pattern
        for text in attributes.unknown_values if self._names else ():
            if text != DEBEZIUM_UNAVAILABLE and text not in self._unknown:
                yield "WORKER_ATTRIBUTES__UNKNOWN_VALUES", text

    def _read(self, record: Record, decoder: Decoder) -> Content:
        for _ in range(_SCHEMAS_ASKED_MAX + 1):
            found = read(record, decoder)
            if not isinstance(found, NeedsSchema):
                return found
            decoder.add(found.schema_id, self._schema(found.schema_id))
        return Unreadable("its schemas are not to be had")

    def _schema(self, schema_id: SchemaId) -> object | None:
        if schema_id not in self._schemas:
            schema = self._schemas[schema_id] = self._schema_of(schema_id)
            if schema is not None:
                self.see(schema)
        return self._schemas[schema_id]

    def see(self, schema: object) -> None:
        """Learns the columns of a schema."""
        try:
            left_out = self._decoder.left_out(schema)
        except ValueError:
            return  # its records are undecodable, and say so
        self.columns |= left_out
        self._names |= {path.rpartition(".")[2] for path in left_out}

    def _take(self, event: Event, where: str) -> None:
        checked = self._preflight.check(event)
        self._count_fates(event, checked)
        if checked.accepted:
            self.outcomes[CALL] += 1
            for refusal in checked.refusals:
                self.beside[refusal.reason] += 1
                self._explain(refusal.reason, refusal.detail, where)
            if len(self.examples) < EXAMPLES_MAX:
                kinds = {name: _kind(value) for name, value in checked.accepted.items()}
                self.examples.append(Example(where, _identifiers(checked.user), kinds))
        elif checked.refusals:
            refusal = checked.refusals[0]
            self._failed(refusal.reason, refusal.detail, where)
        else:
            self.outcomes[NOTHING] += 1

    def _failed(self, reason: Reason, detail: str, where: str) -> None:
        self.outcomes[reason] += 1
        self._explain(reason, detail, where)

    def _explain(self, reason: Reason, detail: str, where: str) -> None:
        self.details[reason] = f"{where}: {detail}"

    def _count_fates(self, event: Event, checked: Checked) -> None:
        refused = {name: refusal.reason for refusal in checked.refusals for name in refusal.attributes}
        for name in event.kept_back:
            self._count("kept back, since it looks like a phone or an address", name)
        for name, value in event.attributes.items():
            self._remember(self._named, name)
            if name in checked.accepted:
                self._count(f"sent as {_kind(checked.accepted[name])}", name)
            elif name in refused:
                self._count(f"refused: {refused[name]}", name)
            elif value is None:
                self._count("left out: null", name)
            elif value in self._rules.attributes.unknown_values:
                self._count("left out: WORKER_ATTRIBUTES__UNKNOWN_VALUES", name)
            else:
                self._count("left out: not in WORKER_ATTRIBUTES__ALLOW", name)

    def _count(self, fate: str, name: str) -> None:
        counts = self.fates[fate]
        if name in counts or len(counts) < _NAMES_MAX:
            counts[name] += 1

    def _learn(self, event: Event) -> None:
        for name in (*event.attributes, *event.kept_back):
            self._remember(self._names, name)
        texts = {text for text in event.attributes.values() if isinstance(text, str)} | set(_texts(event.user))
        self._unknown |= texts.intersection(self._rules.attributes.unknown_values)

    def _remember(self, names: set[str], name: str) -> None:
        if len(names) < _NAMES_MAX:
            names.add(name)


def _texts(user: User) -> Iterator[str]:
    yield from (text for text in (user.phone, user.email, user.client_user_id) if text is not None)
    yield from (value for _, value in user.custom)


def _identifiers(user: User) -> tuple[str, ...]:
    """The kinds of a user's identifiers. Even a part of one may tell who it is."""
    kinds = [kind for kind in ("phone", "email", "client_user_id") if getattr(user, kind) is not None]
    return (*kinds, *(name for name, _ in user.custom))


def _kind(value: Scalar) -> str:
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, str):
        return "text" if value == value.strip() else "text with blanks around it"
    return "number"


def _avro(schema: object | None) -> AvroType | None:
    try:
        return None if schema is None else AvroType(schema)
    except InvalidSchema:
        return None

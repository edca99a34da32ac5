"""The part of a generated plan that goes on to preflight: it checks identifiers, names and values as they are read.

So it makes no event. Where anything is refused, is sent otherwise than it came, or is odd, its code raises: closures
make the event, and preflight checks that.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from worker.core.avro.read import converter
from worker.core.avro.schema import AvroType, is_record, kind_of
from worker.core.avro.source import Constants, Names, Source, ValueSource
from worker.core.events.event_source import EventSource
from worker.core.events.mapping import Keys, Mapping, Shape, find
from worker.core.events.places import Attributes, Entries, Fields, Row
from worker.core.events.spots import NotCovered, Spots
from worker.core.rules.policy import Decision
from worker.core.rules.preflight import Preflight

_AS_THEY_ARE = frozenset({"boolean", "int", "long"})
_TEXTS = frozenset({"string", "enum"})
_FLOATS = frozenset({"float", "double"})
_NULLS = {"drop": "passed_over += 1", "reject": "raise Odd", "empty_string": "{target} = ''"}


class SendableSource(EventSource):
    """Writes the code that makes a `Sendable` of the values that were kept.

    Raises:
        NotCovered: More is sent of users than the one identifier that names them.
    """

    def __init__(
        self, mapping: Mapping, shape: Shape, spots: Spots, constants: Constants, preflight: Preflight
    ) -> None:
        super().__init__(mapping, shape, spots, constants)
        if preflight.identity.send != "first":
            raise NotCovered
        self._preflight = preflight
        self._checked: str | None = None  # the variable of a map whose entries are checked as they are read
        constants.values |= {
            "unknown": preflight.unknown, "isfinite": isfinite, "custom_key": preflight.custom_key,
            "sendable": preflight.sendable, "sendable_value": preflight.sendable_value,
            "sendable_names": preflight.names, **{f"{kind}_keys": keys for kind, keys in preflight.keys.items()},
        }  # fmt: skip

    def write(self, attributes: Attributes) -> None:
        """Writes it."""
        source = self.source
        self._ignore()
        self._key()
        checked = self._checked = self._checked_map(attributes)
        row = self._only_row(attributes)
        if checked is not None:
            source.add(f"values, passed_over = {checked}, 0")
            with source.block("if left_out:"):
                source.add(f"values = {{name: value for name, value in {checked}.items() if value is not None}}")
                source.add(f"passed_over = len({checked}) - len(values)")
        elif row is not None:
            source.add("values, passed_over = {}, 0")
            self._checked_row(row.keys, row.fields)
        else:
            self._attributes(attributes)
            source.add("values, passed_over = sendable(attributes)", "passed_over += len(kept_back)")
        with source.block("if not values:"):
            source.add("raise Odd")
        event_id = self._event_id()
        source.add(f"return user, values, {self._occurred_at()}, {event_id}, passed_over")

    def values(self, reading: Source, names: Names) -> ValueSource:
        """As of an event's."""
        if self._checked is None:
            return super().values(reading, names)
        return _CheckedValues(self._shape.value, reading, self._constants, names, self._preflight, self._checked)

    def _key(self) -> None:
        """The user's key, by the first identifier that is there."""
        source = self.source
        source.add("user = None")
        for kind in self._preflight.identity.order:
            if not any(True for _ in self._mapping.labelled("custom_identifiers" if kind == "custom" else kind)):
                continue
            with source.block("if user is None:"):
                if kind == "custom":
                    value, key = self._custom(), "custom_key(value)"
                else:
                    value, key = self._text(getattr(self._mapping, kind), kind), f"{kind}_keys[value]"
                with source.block(f"if value := {value}:"):
                    source.add(f"user = {key}")
        with source.block("if user is None:"):
            source.add("raise Odd")

    def _checked_map(self, attributes: Attributes) -> str | None:
        """The variable of the map of all attributes, if they keep their names and nothing else lies in it."""
        if len(attributes.paths) != 1 or len(attributes.paths[0]) != 1 or not self._preflight.attributes.allow_all:
            return None
        ((place,),) = attributes.paths
        if not isinstance(place, Entries) or place.named is not None or self._spots.kinds(place.keys) != {"map"}:
            return None
        others = [path for setting, path in self._mapping.paths() if setting != "attributes"]
        inside = any(one.keys[: len(place.keys)] == place.keys for path in others for one in find(self._shape, path))
        return None if inside else self._spots.value(place.keys)

    def _only_row(self, attributes: Attributes) -> Row | None:
        """The record whose fields are all attributes, if there is one that is read field by field."""
        if len(attributes.paths) != 1 or len(attributes.paths[0]) != 1:
            return None
        ((place,),) = attributes.paths
        return place if isinstance(place, Row) and self._spots.is_row(place.keys) else None

    def _checked_row(self, keys: Keys, fields: Fields) -> None:
        """The fields of a record, if it is there, each with what preflight would check."""
        presence = self._spots.presence(keys)
        if presence == "True":
            self._checked_fields(keys, fields)
            return
        with self.source.block(f"if {presence}:"):
            self._checked_fields(keys, fields)

    def _checked_fields(self, keys: Keys, fields: Fields) -> None:
        for name, new in fields.plain:
            self._checked_field((*keys, name), new, may_be_contact=False)
        for name, new in fields.texts:
            self._checked_field((*keys, name), new, may_be_contact=True)
        for name, inner in fields.nested:
            self._checked_row((*keys, name), inner)

    def _checked_field(self, keys: Keys, new: str, *, may_be_contact: bool) -> None:
        source, preflight, value = self.source, self._preflight, self._spots.value(keys)
        decision = preflight.decide(new)
        if decision is Decision.PASS_OVER:
            source.add("passed_over += 1")
            return
        nulls = preflight.attributes.nulls
        if decision is not Decision.SEND:
            with source.block(f"if {value} is not None:" if nulls == "drop" else "if True:"):
                source.add("raise Odd")
            source.add("passed_over += 1")
            return
        with source.block(f"if {value} is None:"):
            source.add(_NULLS[nulls].format(target=f"values[{new!a}]"))
        kinds = self._spots.kinds(keys)
        if may_be_contact:
            is_text = "" if kinds == {"string"} else f"type({value}) is str and "
            with source.block(f"elif {is_text}('@' in {value} or '+' in {value}) and is_contact({value}):"):
                source.add("passed_over += 1")
        if not kinds <= _TEXTS | _AS_THEY_ARE:
            with source.block(f"elif (item := sendable_value({value})) is None:"):
                source.add("passed_over += 1")
            value = "item"
        elif kinds & _TEXTS and preflight.unknown:
            with source.block(f"elif {value} in unknown:"):
                source.add("passed_over += 1")
        with source.block("else:"):
            source.add(f"values[{new!a}] = {value}")


class _CheckedValues(ValueSource):
    """Writes code as its base does; for the map in the variable `checked`, also what preflight checks of each entry.

    What a rule leaves out gets the value None, and `left_out` is True then.
    """

    def __init__(
        self,
        avro: AvroType,
        source: Source,
        constants: Constants,
        names: Names,
        preflight: Preflight,
        checked: str,
    ) -> None:
        super().__init__(avro, source, constants, names)
        self._preflight = preflight
        self._map = checked
        self._inside = False
        source.add("left_out = False")

    def value(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - Avro's schemas are str, dict or list
        """As the base's."""
        schema = self._avro.resolve(schema)
        kind = kind_of(schema)
        if self._inside:
            self._attribute(schema, "union" if isinstance(schema, list) else kind, str(into))
        elif into is not None and into == self._map and kind == "map":
            self._inside = True
            super().value(schema, into)
            self._inside = False
        else:
            super().value(schema, into)

    def _attribute(self, schema: Any, kind: str, into: str) -> None:  # noqa: ANN401 - as above
        source, nulls = self._source, self._preflight.attributes.nulls
        if kind == "union" or (kind in _AS_THEY_ARE and converter(schema) is None):
            super().value(schema, into)
        elif kind == "null":
            if nulls == "drop":
                source.add(f"{into} = None", "left_out = True")
            else:
                source.add(_NULLS[nulls].format(target=into))
        elif is_record(schema) or kind in {"array", "map"}:
            source.add("raise Odd")
        else:
            self._checked(schema, kind, into)

    def _checked(self, schema: Any, kind: str, into: str) -> None:  # noqa: ANN401 - as above
        source = self._source
        super().value(schema, "item")
        if converter(schema) is None and kind in _FLOATS:
            with source.block("if not isfinite(item):"):
                source.add("raise Odd")
        elif converter(schema) is not None or kind not in _TEXTS:
            source.add("item = sendable_value(item)")
            with source.block("if item is None:"):
                source.add("left_out = True")
        elif self._preflight.unknown:
            with source.block("if item in unknown:"):
                source.add("item, left_out = None, True")
        source.add(f"{into} = item")

    def _closure(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - as above
        """A closure checks nothing that is to be sent."""
        if self._inside or (into is not None and into == self._map):
            raise NotCovered
        super()._closure(schema, into)

    def _name(self, name: str, *, kept: bool) -> None:
        if not self._inside:
            super()._name(name, kept=kept)
            return
        with self._source.block("if (size := data[at]) & 129:"):
            self._source.add("raw, at = read_bytes(data, at)", f"{name} = sendable_names[raw]")
        with self._source.block("else:"):
            self._source.add(f"{name} = sendable_names[data[at + 1 : (at := at + 1 + (size >> 1))]]")

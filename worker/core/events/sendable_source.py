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
from worker.core.events.mapping import Mapping, Shape, find
from worker.core.events.places import Attributes, Entries
from worker.core.events.spots import NotCovered, Spots
from worker.core.rules.preflight import Preflight

_AS_THEY_ARE = frozenset({"boolean", "int", "long"})
_TEXTS = frozenset({"string", "enum"})
_FLOATS = frozenset({"float", "double"})


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
        if checked is None:
            self._attributes(attributes)
            source.add("values, passed_over = sendable(attributes)", "passed_over += len(kept_back)")
        else:
            source.add(f"values, passed_over = {checked}, 0")
            with source.block("if left_out:"):
                source.add(f"values = {{name: value for name, value in {checked}.items() if value is not None}}")
                source.add(f"passed_over = len({checked}) - len(values)")
        with source.block("if not values:"):
            source.add("raise Odd")
        event_id = self._event_id()
        source.add(f"return key, values, {self._occurred_at()}, {event_id}, passed_over")

    def values(self, reading: Source, names: Names) -> ValueSource:
        """As of an event's."""
        if self._checked is None:
            return super().values(reading, names)
        return _CheckedValues(self._shape.value, reading, self._constants, names, self._preflight, self._checked)

    def _key(self) -> None:
        """The user's key, by the first identifier that is there."""
        source = self.source
        source.add("key = None")
        for kind in self._preflight.identity.order:
            if kind == "custom":
                with source.block("if key is None:"):
                    custom = self._custom()
                    with source.block(f"if {custom}:"):
                        source.add(f"key = custom_key({custom})")
                continue
            value = self._text(getattr(self._mapping, kind), kind)
            if value != "None":
                with source.block(f"if (value := {value}) and key is None:"):
                    source.add(f"key = {kind}_keys[value]")
        with source.block("if key is None:"):
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
            if nulls == "reject":
                source.add("raise Odd")
            elif nulls == "empty_string":
                source.add(f"{into} = ''")
            else:
                source.add(f"{into} = None", "left_out = True")
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

    def _name(self, name: str, *, kept: bool) -> None:
        if not self._inside:
            super()._name(name, kept=kept)
            return
        with self._source.block("if (size := data[at]) & 129:"):
            self._source.add("raw, at = read_bytes(data, at)", f"{name} = sendable_names[raw]")
        with self._source.block("else:"):
            self._source.add(f"{name} = sendable_names[data[at + 1 : (at := at + 1 + (size >> 1))]]")

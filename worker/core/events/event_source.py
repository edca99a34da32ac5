"""The part of a generated plan that makes an event of the values that were read."""

from __future__ import annotations

from worker.core.avro.source import Constants, Names, Source, ValueSource
from worker.core.events.mapping import KEY, Found, Mapping, Shape, find
from worker.core.events.places import Attributes, Entries, Fields, Place, Row, Scalar
from worker.core.events.spots import NotCovered, Spots

_TEXTS = frozenset({"string", "enum"})
_PER_MILLISECOND = {"millis": 1, "micros": 1_000}
_TIMES_MS = (-62_135_596_800_000, 253_402_300_799_999)
"""The first and the last millisecond of the calendar."""


class EventSource:
    """Writes the code that makes an event of the values that were kept."""

    def __init__(self, mapping: Mapping, shape: Shape, spots: Spots, constants: Constants) -> None:
        self._mapping = mapping
        self._shape = shape
        self._spots = spots
        self._constants = constants
        self.source = Source(2)

    def write(self, attributes: Attributes) -> None:
        """Writes it."""
        mapping, source = self._mapping, self.source
        self._ignore()
        user = ", ".join(
            self._text(path, kind)
            for kind, path in (
                ("phone", mapping.phone),
                ("email", mapping.email),
                ("client_user_id", mapping.client_user_id),
            )
        )
        custom = self._custom()
        self._attributes(attributes)
        event_id = self._event_id()
        occurred_at = self._occurred_at()
        source.add(f"return Event(User({user}, {custom}), attributes, {occurred_at}, {event_id}, (), kept_back)")

    def values(self, reading: Source, names: Names) -> ValueSource:
        """What writes the code that reads values, once this code is written. `names`: as of `generated`."""
        return ValueSource(self._shape.value, reading, self._constants, names)

    def _ignore(self) -> None:
        guards = [self._is_null(found) for found in self._found(self._mapping.ignore_when_null)]
        if guards:
            with self.source.block(f"if {' and '.join(guards)}:"):
                self.source.add("return None")
        for path, value in self._mapping.ignored():
            if found := self._found(path):
                with self.source.block(f"if shown({self._first(found)}) == {value!a}:"):
                    self.source.add("return None")

    def _is_null(self, found: Found) -> str:
        is_row = self._spots.is_row(found.keys)
        return f"{self._spots.presence(found.keys) if is_row else self._spots.value(found.keys)} is None"

    def _text(self, path: str, variable: str) -> str:
        """An expression of an identifier. One that should be a text and is none is left to the closures."""
        found = self._found(path)
        value = self._first(found)
        if not found or self._is_text(found):
            return value
        self.source.add(f"{variable} = as_text(value := {value})")
        with self.source.block(f"if {variable} is None and value is not None:"):
            self.source.add("raise Odd")
        return variable

    def _custom(self) -> str:
        """An expression of the custom identifiers. Ones with faults are left to the closures."""
        labelled = list(self._mapping.labelled("custom_identifiers"))
        if not labelled:
            return "()"
        self.source.add("custom = ()")
        if labelled[0][0]:
            for name, path in labelled:
                value = self._text(path, "text")
                with self.source.block(f"if {value} is not None:"):
                    self.source.add(f"custom += (({name!a}, {value}),)")
            return "custom"
        value = self._first(find(self._shape, labelled[0][1]))
        with self.source.block(f"if value := {value}:"):
            self.source.add("custom = custom_of(value, faults := [])")
            with self.source.block("if faults:"):
                self.source.add("raise Odd")
        return "custom"

    def _event_id(self) -> str:
        found = self._found(self._mapping.event_id)
        value = self._first(found)
        return value if not found or self._is_text(found) else f"as_text({value})"

    def _occurred_at(self) -> str:
        found = self._found(self._mapping.occurred_at)
        if not found:
            return "None"
        if len(found) == 1 == len(found[0].types) and (units := self._units(found[0])):
            return units
        value = self._first(found)
        is_number = len(found) == 1 and self._spots.kinds(found[0].keys) <= {"int", "long"}
        return value if is_number else f"milliseconds({value})"

    def _units(self, found: Found) -> str | None:
        """An expression of a timestamp in milliseconds, without the way by the calendar. None if it is no timestamp."""
        (schema,) = found.types
        logical = str(schema.get("logicalType", "")) if isinstance(schema, dict) else ""
        per = _PER_MILLISECOND.get(logical.rpartition("timestamp-")[2]) if "timestamp-" in logical else None
        if per is None or found.keys[0] == KEY or (value := self._spots.units(found.keys, schema)) is None:
            return None
        first, last = _TIMES_MS[0] * per, _TIMES_MS[1] * per + per - 1
        shortened = value if per == 1 else f"{value} // {per}"
        return f"{shortened} if {value} is not None and {first} <= {value} <= {last} else None"

    def _attributes(self, attributes: Attributes) -> None:
        if attributes.refusal:
            raise NotCovered
        self.source.add("kept_back = ()")
        if len(attributes.paths) == 1:
            (places,) = attributes.paths
            self._first_place(places, "attributes")
            if not self._is_certain(places):
                self.source.add("attributes = attributes or {}")
            return
        self.source.add("attributes = {}")
        for places in reversed(attributes.paths):
            self._first_place(places, "found")
            self.source.add("attributes.update(found or {})")

    def _is_certain(self, places: tuple[Place, ...]) -> bool:
        """Whether they are always there: the fields of a record that is never null."""
        return len(places) == 1 and isinstance(places[0], Row) and self._spots.presence(places[0].keys) == "True"

    def _first_place(self, places: tuple[Place, ...], into: str) -> None:
        """The first place that is there. A scalar that is null counts only if no other is there."""
        if len(places) == 1:
            self._place(places[0], into)
            return
        with self.source.block("for _ in (0,):  # until the first that is there"):
            self.source.add("null = None")
            for place in places:
                self._place(place, into)
                if isinstance(place, Scalar):
                    self.source.add(f"null = null or {into}")
                is_null = f" and None not in {into}.values()" if isinstance(place, Scalar) else ""
                with self.source.block(f"if {into} is not None{is_null}:"):
                    self.source.add("break")
        with self.source.block("else:"):
            self.source.add(f"{into} = null")

    def _place(self, place: Place, into: str) -> None:
        if isinstance(place, Entries):
            self._entries(place, into)
            return
        above = place.keys[:-1] if isinstance(place, Scalar) else place.keys
        if self._spots.is_row(above):
            presence = "key is not None" if place.keys == (KEY,) else self._spots.presence(above)
            if presence == "True":
                self._there(place, into)
                return
            self.source.add(f"{into} = None")
            with self.source.block(f"if {presence}:"):
                self._there(place, into)
        elif isinstance(place, Scalar) and above:
            value = "None" if place.name is None else self._spots.value(above)
            self.source.add(f"{into} = entry({place.name!a}, {value}, {place.keys[-1]!a})")
        else:
            raise NotCovered

    def _there(self, place: Row | Scalar, into: str) -> None:
        """The attributes of a record that is there."""
        if isinstance(place, Row):
            self._fields(place.keys, place.fields, into)
        elif place.name is None:
            self.source.add(f"{into} = None")
        else:
            self.source.add(f"{into} = {{{place.name!a}: {self._spots.value(place.keys)}}}")

    def _entries(self, place: Entries, into: str) -> None:
        value = self._spots.value(place.keys)
        is_map = place.named is None and self._spots.kinds(place.keys) == {"map"}
        self.source.add(f"{into} = {value if is_map else f'{self._constants.name(place.of)}({value})'}")

    def _fields(self, keys: tuple[str, ...], fields: Fields, into: str) -> None:
        """Fields of a record that is there, and then those of the records in it."""
        pairs = [(new, self._spots.value((*keys, name))) for name, new in (*fields.plain, *fields.texts)]
        self.source.add(f"{into} = {{")
        self.source.add(*(f"    {new!a}: {value}," for new, value in pairs), "}")
        for (name, new), (_, value) in zip(fields.texts, pairs[len(fields.plain) :], strict=True):
            is_text = (
                f"{value} is not None" if self._spots.kinds((*keys, name)) == {"string"} else f"type({value}) is str"
            )
            with self.source.block(f"if {is_text} and ('@' in {value} or '+' in {value}) and is_contact({value}):"):
                self.source.add(f"del {into}[{new!a}]", f"kept_back += ({new!a},)")
        for name, inner in fields.nested:
            below = (*keys, name)
            with self.source.block(f"if {self._spots.presence(below)}:"):
                self._fields(below, inner, f"{into}_")
                self.source.add(f"{into}.update({into}_)")

    def _found(self, path: str) -> list[Found]:
        return find(self._shape, path) if path else []

    def _first(self, found: list[Found]) -> str:
        """An expression of the first value that is there."""
        values = [self._spots.value(one.keys) for one in found]
        if len(values) > 1:
            return f"present({', '.join(values)})"
        return values[0] if values else "None"

    def _is_text(self, found: list[Found]) -> bool:
        """Whether all values at these places are texts."""
        return all(self._spots.kinds(one.keys) <= _TEXTS for one in found)

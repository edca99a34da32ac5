"""Which fields of a record generated code keeps, and the code that reads the record and keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from worker.core.avro.schema import AvroType, is_record, kind_of
from worker.core.avro.source import Constants, Source, ValueSource
from worker.core.events.mapping import KEY, Keys, shown


class NotCovered(Exception):
    """No code is generated for this schema and mapping: closures read it."""


@dataclass(slots=True)
class _Spot:
    """A field. `variable` holds its value; if it is a record with `inner` spots, whether it is there."""

    schema: Any
    keys: Keys
    record: dict[str, Any] | None
    variable: str = ""
    whole: bool = False
    inner: dict[str, _Spot] = field(default_factory=dict)
    types: dict[str, Any] = field(default_factory=dict)

    def variables(self) -> Iterator[str]:
        if self.variable:
            yield self.variable
        for spot in self.inner.values():
            yield from spot.variables()


class Spots:
    """The fields that are wanted of a record. First ask for all of them, then for the code that reads the record.

    A path is followed through records, also those that may be null. What lies in maps, arrays and unions of more types
    is fetched from the whole of them.

    Raises:
        NotCovered: The schema is recursive, or of more than one type of record.
    """

    def __init__(self, avro: AvroType, constants: Constants) -> None:
        record = _row(avro, avro.root)
        if record is None or avro.recursive:
            raise NotCovered
        self._avro = avro
        self._constants = constants
        self._root = _Spot(avro.root, (), record)
        self._numbers = count(1)

    def value(self, keys: Keys) -> str:
        """An expression of the value there. It is None where there is nothing."""
        if keys[0] == KEY:
            return self._fetched("keyed", keys[1:])
        spot, rest = self._spot(keys)
        spot.whole = True
        return self._fetched(self._named(spot), rest)

    def kinds(self, keys: Keys) -> set[str]:
        """The types that the value there may have, beside null; `other` is one that Avro converts or does not tell."""
        if keys[0] == KEY:
            return {"other"}
        spot, rest = self._spot(keys)
        branches = self._avro.branches(spot.schema)
        return {"other" if rest or _is_converted(branch) else kind_of(branch) for branch in branches}

    def is_row(self, keys: Keys) -> bool:
        """Whether there is a record, or null, and nothing else."""
        if keys[:1] == (KEY,):
            return False
        spot, rest = self._spot(keys)
        return not rest and spot.record is not None

    def units(self, keys: Keys, schema: Any) -> str | None:  # noqa: ANN401 - Avro's schemas are str, dict or list
        """As `value`, but without its logical type. None if the value is wanted with it, too."""
        spot, rest = self._spot(keys)
        if rest or spot.whole:
            return None
        types = spot.schema if isinstance(spot.schema, list) else [spot.schema]
        plain = [schema["type"] if branch is schema else branch for branch in map(self._avro.resolve, types)]
        spot.schema, spot.whole = plain if isinstance(spot.schema, list) else plain[0], True
        return self._named(spot)

    def presence(self, keys: Keys) -> str:
        """An expression: None where there is no such record; `True` if there always is one.

        Raises:
            NotCovered: It is not read as a record, field by field.
        """
        spot, known = self._root, "True"
        for key in keys:
            spot = self._inner(spot, key)
            if spot.record is None:
                raise NotCovered
            if isinstance(spot.schema, list) and len(spot.schema) > 1:
                known = self._named(spot)
        return known

    def _spot(self, keys: Keys) -> tuple[_Spot, Keys]:
        """The spot in which the value lies, and the steps from there."""
        spot = self._root
        for number, key in enumerate(keys):
            if spot.record is None:
                return spot, keys[number:]
            spot = self._inner(spot, key)
        return spot, ()

    def _inner(self, spot: _Spot, key: str) -> _Spot:
        if spot.record is None:
            raise NotCovered
        if key not in spot.inner:
            spot.types = spot.types or {each["name"]: each["type"] for each in spot.record["fields"]}
            schema = spot.types[key]
            spot.inner[key] = _Spot(schema, (*spot.keys, key), _row(self._avro, schema))
        return spot.inner[key]

    def _named(self, spot: _Spot) -> str:
        spot.variable = spot.variable or f"v{next(self._numbers)}"
        return spot.variable

    def _fetched(self, variable: str, keys: Keys) -> str:
        return f"within({variable}, {self._constants.name(keys)})" if keys else variable

    def read(self, source: Source, values: ValueSource) -> None:
        """Writes the code that reads a record, and keeps what is wanted."""
        self._row(source, values, self._root)

    def _row(self, source: Source, values: ValueSource, spot: _Spot) -> None:
        if spot.whole or spot.record is None:
            raise NotCovered  # it is wanted both whole and by its fields
        if not isinstance(spot.schema, list):
            self._fields(source, values, spot)
            return
        source.add("branch = data[at]", "at += 1")
        for index, branch in enumerate(map(self._avro.resolve, spot.schema)):
            with source.block(f"{'elif' if index else 'if'} branch == {index << 1}:"):
                if is_record(branch):
                    if spot.variable:
                        source.add(f"{spot.variable} = True")
                    self._fields(source, values, spot)
                elif spot is self._root:
                    source.add("raise Odd")
                elif variables := list(spot.variables()):
                    source.add(f"{' = '.join(variables)} = None")
        with source.block("else:"):
            source.add("raise Odd")

    def _fields(self, source: Source, values: ValueSource, spot: _Spot) -> None:
        assert spot.record is not None  # noqa: S101 - `_row` has looked
        for declared in spot.record["fields"]:
            inner = spot.inner.get(declared["name"])
            source.add(f"# {shown((*spot.keys, declared['name']))!a}")
            if inner is None:
                values.value(declared["type"], None)
            elif inner.inner or not inner.whole:
                self._row(source, values, inner)
            else:
                values.value(inner.schema, inner.variable)


def _is_converted(schema: object) -> bool:
    return isinstance(schema, dict) and "logicalType" in schema


def _row(avro: AvroType, schema: Any) -> dict[str, Any] | None:  # noqa: ANN401 - as above
    """The record that the schema is, or that it is beside null. None if it may be anything else."""
    branches = [avro.resolve(branch) for branch in (schema if isinstance(schema, list) else [schema])]
    records = [branch for branch in branches if is_record(branch) and not _is_converted(branch)]
    others = [branch for branch in branches if kind_of(branch) != "null"]
    return records[0] if len(records) == 1 == len(others) and len(branches) <= 2 else None  # noqa: PLR2004 - it and null

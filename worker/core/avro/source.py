"""Python source that reads Avro values: for the common types what `read` does by closures, written out in one place.

The code works on `data`, the record's bytes, and on `at`, a position in them. It says nothing about what is wrong: it
raises, and the closures read the record again, to say that. It need not look whether a length leads beyond the end: no
position ever goes back, so the reading of the whole record ends beyond it as well, which is seen there.

Names, symbols and defaults of a schema never become source: they are constants, which the code refers to by names of
ours, or text that `ascii` has quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from struct import Struct
from typing import Any, ClassVar
from zlib import compress, decompress

from worker.core.avro.primitives import read_block, read_bytes, read_int, read_long, read_string, skip_int, skip_long
from worker.core.avro.read import Closures, Usage, converter
from worker.core.avro.schema import AvroType, is_record, kind_of

_NAMES_KEPT = 4_096
_LINES_MAX = 3_000
"""Past it, what is not mapped is left to closures: a few types that hold each other make millions of lines."""
_DEPTH_MAX = 12
_BRANCHES_MAX = 16
_SYMBOLS_MAX = 64  # that many indices take one byte
_LIKELY = {"string": 0, "long": 1, "int": 1, "double": 2, "float": 2, "null": 9}
_RECORD = "record"
_numbers = count(1)


class Odd(Exception):
    """The generated code cannot read a record: the closures have to, or to say why it cannot be read."""


_HELPERS: Mapping[str, object] = {
    "Odd": Odd,
    "zigzag": tuple((byte >> 1) ^ -(byte & 1) for byte in range(128)),
    "unpack_float": Struct("<f").unpack_from,
    "unpack_double": Struct("<d").unpack_from,
    "read_int": read_int,
    "read_long": read_long,
    "skip_int": skip_int,
    "skip_long": skip_long,
    "read_bytes": read_bytes,
    "read_string": read_string,
    "read_block": read_block,
}
"""What all generated code refers to."""


class Names(dict[bytes, str]):
    """Texts by their UTF-8. The keys of maps are few, and come again and again."""

    def __missing__(self, raw: bytes) -> str:
        if len(self) >= _NAMES_KEPT:
            self.clear()
        text = self[raw] = raw.decode()
        return text


class Source:
    """Lines of code, and the constants that they refer to."""

    def __init__(self, depth: int = 0) -> None:
        self.lines: list[str] = []
        self.depth = depth
        self._made = count(1)

    def add(self, *lines: str) -> None:
        """Adds lines to the present block."""
        self.lines += ["    " * self.depth + line for line in lines]

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A block of lines under a head; one without lines gets a `pass`."""
        self.add(head)
        self.depth += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.add("pass")
        self.depth -= 1


class Constants:
    """What the code refers to by name."""

    def __init__(self, **known: object) -> None:
        self.values: dict[str, object] = dict(known)
        self._names: dict[int, str] = {}

    def name(self, value: object) -> str:
        """The name of a constant. The same object has one name."""
        if id(value) not in self._names:
            self._names[id(value)] = f"c{len(self.values)}"
            self.values[self._names[id(value)]] = value
        return self._names[id(value)]


class ValueSource:
    """Writes the code that reads values of one schema, or passes over them, as strictly as `Reader`."""

    def __init__(self, avro: AvroType, source: Source, constants: Constants, names: Names) -> None:
        self._avro = avro
        self._source = source
        self._constants = constants
        self.usage = Usage()
        self._closures = Closures(avro, self.usage)
        self.counts = False
        """Whether the code counts objects: then `usage.objects` must be 0 before."""
        self._numbers = count(1)
        constants.values |= {**_HELPERS, "names": names, "usage": self.usage}

    def value(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - Avro's schemas are str, dict or list
        """Code that assigns the next value to a target; None: it passes over the value."""
        schema = self._avro.resolve(schema)
        write = self._KINDS[_RECORD if is_record(schema) else kind_of(schema)]
        convert = None if into is None else converter(schema)
        if convert is None:
            write(self, schema, into)
            return
        raw = f"raw{next(self._numbers)}"
        write(self, schema, raw)
        self._source.add(f"{into} = {self._constants.name(convert)}({raw}, {self._constants.name(schema)}, None)")

    def _null(self, _schema: object, into: str | None) -> None:
        if into is not None:
            self._source.add(f"{into} = None")

    def _boolean(self, _schema: object, into: str | None) -> None:
        self._source.add(f"{into or '_'} = (False, True)[data[at]]", "at += 1")

    def _number(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - as above
        with self._source.block("if (byte := data[at]) < 128:"):
            if into is not None:
                self._source.add(f"{into} = zigzag[byte]")
            self._source.add("at += 1")
        with self._source.block("else:"):
            read, skip = f"{into}, at = read_{kind_of(schema)}", f"at = skip_{kind_of(schema)}"
            self._source.add(f"{skip if into is None else read}(data, at)")

    def _float(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - as above
        if into is not None:
            self._source.add(f"({into},) = unpack_{kind_of(schema)}(data, at)")
        self._source.add("at += 4" if kind_of(schema) == "float" else "at += 8")

    def _text(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - as above
        is_text = kind_of(schema) == "string"
        target = "" if into is None else f"{into} = "
        with self._source.block("if (size := data[at]) & 129:  # not one byte, or negative"):
            self._source.add(f"{into or '_'}, at = read_{kind_of(schema)}(data, at)")
        with self._source.block("else:"):
            if into is None and not is_text:
                self._source.add("at += 1 + (size >> 1)")
            else:
                decode = ".decode()" if is_text else ""
                self._source.add(f"{target}data[at + 1 : (at := at + 1 + (size >> 1))]{decode}")

    def _fixed(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - as above
        size = int(schema["size"])
        self._source.add(f"at += {size}" if into is None else f"{into} = data[at : (at := at + {size})]")

    def _enum(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - as above
        if len(schema["symbols"]) > _SYMBOLS_MAX:
            self._closure(schema, into)
            return
        by_byte = {index << 1: symbol for index, symbol in enumerate(schema["symbols"])}
        self._source.add(f"{into or '_'} = {self._constants.name(by_byte)}[data[at]]", "at += 1")

    def _union(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - as above
        kinds = [kind_of(self._avro.resolve(branch)) for branch in schema]
        if len(schema) > _BRANCHES_MAX or "union" in kinds or self._is_large:
            self._closure(schema, into)
            return
        self._source.add("branch = data[at]", "at += 1")
        word = "if"
        for index in sorted(range(len(kinds)), key=lambda index: _LIKELY.get(kinds[index], 5)):
            with self._source.block(f"{word} branch == {index << 1}:"):
                self.value(schema[index], into)
            word = "elif"
        with self._source.block("else:" if kinds else "if True:"):
            self._source.add("raise Odd")

    def _items(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - as above
        """An array or a map."""
        if self._is_large:
            self._closure(schema, into)
            return
        source, is_map = self._source, kind_of(schema) == "map"
        number = next(self._numbers)
        items, end, name = f"items{number}", f"end{number}", f"name{number}"
        item = schema["values"] if is_map else schema["items"]
        if into is not None:
            source.add(f"{items} = {'{}' if is_map else '[]'}")
        with source.block("while count := data[at]:"):
            with source.block("if count & 129:"):
                source.add(f"count, at, {end} = read_block(data, at)")
            with source.block("else:"):
                source.add(f"count, at, {end} = count >> 1, at + 1, None")
            self._bound(self._closures.weight(item))
            with source.block("for _ in range(count):"):
                if is_map:
                    self._name(name, kept=into is not None)
                if into is None or is_map:
                    self.value(item, into and f"{items}[{name}]")
                else:
                    self.value(item, "item")
                    source.add(f"{items}.append(item)")
            with source.block(f"if {end} is not None and {end} != at:"):
                source.add("raise Odd")
        source.add("at += 1")
        if into is not None:
            source.add(f"{into} = {items}")

    def _bound(self, weight: int) -> None:
        """Checks how many items a block claims: no fewer than one, and no more than can be there."""
        with self._source.block("if not count or count > len(data):" if not weight else "if not count:"):
            self._source.add("raise Odd")
        if weight:
            self.counts = True
            self._source.add(f"usage.add_objects(count * {weight})")

    def _name(self, name: str, *, kept: bool) -> None:
        """A key of a map."""
        with self._source.block("if (size := data[at]) & 129:"):
            self._source.add(f"{name}, at = read_string(data, at)")
        with self._source.block("else:"):
            raw = "data[at + 1 : (at := at + 1 + (size >> 1))]"
            self._source.add(f"{name} = names[{raw}]" if kept else f"{raw}.decode()")

    def _record(self, schema: dict[str, Any], into: str | None) -> None:
        if self._is_large:
            self._closure(schema, into)
            return
        made = f"record{next(self._numbers)}"
        if into is not None:
            self._source.add(f"{made} = {{}}")
        for declared in schema["fields"]:
            self.value(declared["type"], None if into is None else f"{made}[{declared['name']!a}]")
        if into is not None:
            self._source.add(f"{into} = {made}")

    @property
    def _is_large(self) -> bool:
        return len(self._source.lines) > _LINES_MAX or self._source.depth > _DEPTH_MAX

    def _closure(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - as above
        self.counts = True
        read = self._constants.name(self._closures.of(schema))
        self._source.add(f"at = {read}(data, at)[1]" if into is None else f"{into}, at = {read}(data, at)")

    _KINDS: ClassVar[dict[str, Callable[[ValueSource, Any, str | None], None]]] = {
        "null": _null,
        "boolean": _boolean,
        "int": _number,
        "long": _number,
        "float": _float,
        "double": _float,
        "bytes": _text,
        "string": _text,
        "fixed": _fixed,
        "enum": _enum,
        "union": _union,
        "array": _items,
        "map": _items,
        _RECORD: _record,
    }


class _Loader:
    """Gives tracebacks the lines of generated code."""

    def __init__(self, source: str) -> None:
        self._packed = compress(source.encode())  # a hundred lines for each schema

    def get_source(self, _name: str) -> str:
        return decompress(self._packed).decode()


def compiled(lines: list[str], constants: Constants, what: str) -> Any:  # noqa: ANN401 - whatever function it is
    """The function `decode` that the lines define. `what` names them in tracebacks."""
    source = "\n".join(lines) + "\n"
    name = f"{what}, generated {next(_numbers)}"
    constants.values |= {"__name__": name, "__loader__": _Loader(source)}
    exec(compile(source, name, "exec"), constants.values)  # noqa: S102 - it holds no text of others: see above
    return constants.values.pop("decode")  # else it would hold itself, and be freed late

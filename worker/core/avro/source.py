"""Python source that reads Avro values: for the common types what `read` does by closures, written out in one place.

The code works on `data`, the record's bytes, and on `at`, a position in them. It says nothing about what is wrong: it
raises, and the closures read the record again, to say that. It need not look whether a length leads beyond the end: no
position ever goes back, so the reading of the whole record ends beyond it as well, which is seen there.

Names, symbols and defaults of a schema never become source: they are constants, which the code refers to by names of
ours, or text that `ascii` has quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from struct import Struct
from typing import Any, ClassVar
from zlib import compress, decompress

from worker.core.avro.primitives import read_block, read_bytes, read_int, read_long, read_string
from worker.core.avro.read import Closures, Usage, converter
from worker.core.avro.schema import AvroType, is_record, kind_of

_NAMES_KEPT = 4_096
_LINES_MAX = 3_000
"""Past it, what is not mapped is left to closures: a few types that hold each other make millions of lines."""
_DEPTH_MAX = 12
_BRANCHES_MAX = 16
_SYMBOLS_MAX = 64  # that many indices take one byte
_LIKELY = {"string": 0, "long": 1, "int": 1, "double": 2, "float": 2, "null": 9}
_numbers = count(1)


class Odd(Exception):
    """The generated code cannot read a record: the closures have to, or to say why it cannot be read."""


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
        self._raws = count(1)
        constants.values |= {
            "Odd": Odd,
            "names": names,
            "zigzag": tuple((byte >> 1) ^ -(byte & 1) for byte in range(128)),
            "unpack_float": Struct("<f").unpack_from,
            "unpack_double": Struct("<d").unpack_from,
            "read_int": read_int,
            "read_long": read_long,
            "read_bytes": read_bytes,
            "read_string": read_string,
            "read_block": read_block,
            "usage": self.usage,
        }

    def value(self, schema: Any, into: str | None) -> None:  # noqa: ANN401 - Avro's schemas are str, dict or list
        """Code that assigns the next value to a target; None: it passes over the value."""
        schema = self._avro.resolve(schema)
        if is_record(schema):
            self._record(schema, into)
            return
        convert = None if into is None else converter(schema)
        if convert is None:
            self._KINDS[kind_of(schema)](self, schema, into)
            return
        raw = f"raw{next(self._raws)}"
        self._KINDS[kind_of(schema)](self, schema, raw)
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
            self._source.add(f"{into or '_'}, at = read_{kind_of(schema)}(data, at)")

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
        """An array or a map; many are empty."""
        if into is not None and kind_of(schema) == "map" and "[" not in into and not self._is_large:
            self._map(schema, into)
            return
        with self._source.block("if data[at]:"):
            self._closure(schema, into)
        with self._source.block("else:"):
            if into is not None:
                self._source.add(f"{into} = {'{}' if kind_of(schema) == 'map' else '[]'}")
            self._source.add("at += 1")

    def _map(self, schema: Any, into: str) -> None:  # noqa: ANN401 - as above
        source, weight = self._source, self._closures.weight(schema["values"])
        source.add(f"{into} = {{}}")
        with source.block("while count := data[at]:"):
            with source.block("if count & 129:"):
                source.add("count, at, end = read_block(data, at)")
                with source.block("if not count:"):
                    source.add("raise Odd")
            with source.block("else:"):
                source.add("count, at, end = count >> 1, at + 1, None")
            if weight:
                self.counts = True
                source.add(f"usage.add_objects(count * {weight})")
            with source.block("for _ in range(count):"):
                with source.block("if (size := data[at]) & 129:"):
                    source.add("name, at = read_string(data, at)")
                with source.block("else:"):
                    source.add("name = names[data[at + 1 : (at := at + 1 + (size >> 1))]]")
                self.value(schema["values"], f"{into}[name]")
            with source.block("if end is not None and end != at:"):
                source.add("raise Odd")
        source.add("at += 1")

    def _record(self, schema: dict[str, Any], into: str | None) -> None:
        if into is not None or self._is_large:
            self._closure(schema, into)
            return
        for declared in schema["fields"]:
            self.value(declared["type"], None)

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

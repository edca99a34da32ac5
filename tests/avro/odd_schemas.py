"""Records with odd schemas, by what is odd. Java decides which of them are valid."""

from __future__ import annotations

from typing import Any

from tests.support.avro import fields

X: dict[str, Any] = {"type": "enum", "name": "X", "symbols": ["A", "B"]}
_OTHER_X: dict[str, Any] = {"type": "fixed", "name": "X", "size": 1}
_FIXED: dict[str, Any] = {"type": "fixed", "name": "F", "size": 4}


def _deep(levels: int) -> Any:  # noqa: ANN401 - Avro's schemas are str, dict or list
    return {"type": "array", "items": _deep(levels - 1)} if levels else "int"


def _case(*types: Any, name: str = "Case", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    return fields(*((f"f{index}", kind) for index, kind in enumerate(types)), name=name) | more


def _field(**properties: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {"type": "record", "name": "Case", "fields": [{"name": "f", "type": "int"} | properties]}


_NAMES = {
    "null namespace from within one": _case(X, _case("X", name="n.In")),
    "one of two namespaces": _case(X, _case(_OTHER_X, "X", name="n.In")),
    "the other of two namespaces": _case(X, _case("X", _OTHER_X, name="n.In")),
    "an empty namespace": _case(X | {"namespace": ""}, "X", name="n.Case"),
    "an empty namespace of a record": _case(_case(X, "X", name="In", namespace=""), "X", name="n.Case"),
    "namespace null": _case(X | {"namespace": None}, "X", name="n.Case"),
    "namespace a number": _case(X | {"namespace": 7}, "n.X", name="n.Case"),
    "namespace an object": _case(X | {"namespace": {}}, "X"),
    "a name's dots beat a namespace": _case(X | {"name": "m.X", "namespace": "q"}, "m.X"),
    "an inherited namespace": _case(_case(X, name="m.k.In"), "m.k.X"),
    "a record's name inside itself": _case(X | {"namespace": ""}, {"type": "array", "items": "X"}, name="n.X"),
    "a leading dot": _case(X | {"name": ".X"}, "X", name="n.Case"),
    "used before it is defined": _case("X", X, name="n.Case"),
    "used by its full name before": _case("n.X", X | {"name": "n.X"}),
    "used in a namespace before": _case("X", X | {"namespace": ""}, name="n.Case"),
    "defined twice": _case(X, X | {"doc": "again"}),
    "defined twice in different ways": _case(X, X | {"symbols": ["A"]}),
    "defined twice with other properties": _case(X, X | {"x": 1}),
    "undefined": _case("n.X"),
    "named by an alias": _case(X | {"aliases": ["Y"]}, "Y"),
    "an object around a name": _case(X, {"type": "X"}),
    "an object around a name in a union": _case(X, ["null", {"name": "X", "type": "X"}]),
    "an object around an object": _case({"type": {"type": "string"}}),
    "recursive": _case("int", ["null", "Case"]),
    "recursive by an array": _case({"type": "array", "items": "Case"}, name="n.Case"),
    "recursive in turn": _case(["null", _case(["null", "Case"], name="Turn")]),
    "two short names alike": _case([X | {"name": "n.X"}, _OTHER_X | {"name": "m.X"}]),
    "letters of any script": _case(X | {"name": "Größe", "symbols": ["Größe", "尺寸"]}, "Größe", name="größe.Straße"),
    "letters beyond the basic plane": _case(X | {"symbols": ["𐐷"]}),
    "a dash in a symbol": _case(X | {"symbols": ["A-B"]}),
    "a dollar in a name": _case("int", name="A$B"),
    **{f"a type named {word}": _case(X | {"name": word}, word) for word in ("record", "enum", "union", "map", "int")},
    "a type named int in a namespace": _case(X | {"name": "n.int"}, "int", "n.int"),
}  # fmt: skip
_DOCS: tuple[Any, ...] = (7, None, {"a": [1]}, [])
_DEFAULTS: tuple[Any, ...] = (1, 1.5, "1", None, [], {}, 2**70)
_PROPERTIES = {
    **{f"doc {doc}": _field(doc=doc) | {"doc": doc} for doc in _DOCS},
    **{f"order {order}": _field(order=order) for order in ("ignore", "DESCENDING", "sideways", 1, None)},
    **{f"aliases {aliases}": _field(aliases=aliases) for aliases in (["a", "m.b"], ["f"], [], "a", [1], None)},
    **{f"aliases {aliases} of a type": _case("int", aliases=aliases) for aliases in (["a", "m.b"], ["Case"], "a", [1])},
    **{f"default {value}": _field(default=value) for value in _DEFAULTS},
    **{f"default {value} of a union": _field(type=["null", "int"], default=value) for value in (None, 1, "x")},
    **{f"default {value} of an enum": _case(X | {"default": value}) for value in ("A", None, 7, "Z")},
    "properties unknown": _field(__x=1, x={"y": [1.5]}, namespace="n", items="int", logicalType="date"),
    "properties of a text": _case({"type": "string", "name": "T", "fields": 7, "avro.java.string": "String"}),
    "an error": _case(_case("int", name="Inner", type="error"), type="error"),
    "no fields": _case(),
    "a field twice": fields(("a", "int"), ("a", "int")),
    "fields with names of properties": fields(*((name, "int") for name in ("type", "name", "fields", "null", "int"))),
    "no symbols": _case(X | {"symbols": []}),
    "symbols that are words": _case(X | {"symbols": ["record", "null", "true"]}),
    **{f"size {size}": _case(_FIXED | {"size": size}) for size in (0, 4.0, "4", -1, 2**31, None)},
    **{f"{levels} levels": _case(_deep(levels)) for levels in (80, 110)},
}
_UNIONS = {
    "of one": _case(["int"]),
    "of none": _case([]),
    "without null": _case(["bytes", "string", "boolean", "float"]),
    "in a union": _case(["null", ["int"]]),
    "of a type twice": _case(["int", "int"]),
    "of a logical type and its base": _case(["int", {"type": "int", "logicalType": "date"}]),
    "of two maps": _case([{"type": "map", "values": "int"}, {"type": "map", "values": "long"}]),
    "of arrays of maps of unions": _case({"type": "array", "items": {"type": "map", "values": ["null", "double"]}}),
}
_BASES = ("int", "long", "string", "bytes", "float", _FIXED | {"size": 12}, _FIXED | {"size": 16}, X, "null")
_LOGICAL = (
    "date", "time-millis", "time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos",
    "local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos", "decimal", "big-decimal", "uuid",
    "duration", "nothing", 7, None,
)  # fmt: skip
_PRECISION = ((4, 2), (2, 5), (4, None), (None, 2), (0, 0), (4, -2), ("4", "2"), (4.0, 2.0), (4, True), (9_999, 2_000))


def _annotated(base: Any, **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    given = {key: value for key, value in properties.items() if value is not None}
    return (base if isinstance(base, dict) else {"type": base}) | given


_LOGICAL_TYPES = {
    f"{logical} on {base}": _case(_annotated(base, logicalType=logical, precision=9, scale=2))
    for base in _BASES
    for logical in _LOGICAL
} | {
    f"decimal of {precision}, {scale} in {base}": _case(
        _annotated(base, logicalType="decimal", precision=precision, scale=scale)
    )
    for base in ("bytes", _FIXED)
    for precision, scale in _PRECISION
}  # fmt: skip

ODD = _NAMES | _PROPERTIES | {f"a union {what}": case for what, case in _UNIONS.items()} | _LOGICAL_TYPES
"""All of them, by what is odd."""
EXCUSED = {"110 levels": "more than 100 levels deep"}
"""Those that Java takes and this worker does not, with the reason that it gives."""

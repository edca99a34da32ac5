"""The folders of `examples/`: each has schemas, records, a configuration, and what is to come of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.avro import body, framed
from worker.settings.load import load
from worker.settings.model import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"
DIRECTORIES = sorted(each.parent for each in EXAMPLES.glob("*/worker.yaml"))
_NEEDED = {
    "WORKER_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
    "WORKER_SCHEMAS__REGISTRY_URL": "http://registry:8081",
    "WORKER_ATTENTIVE__TOKEN": "token",
}


class Written(NamedTuple):
    """A record as a producer writes it."""

    key: bytes | None
    value: bytes | None


class Example:
    """One folder.

    Attributes:
        configuration: the file that the worker is started with.
        schemas: of values and keys, by file name.
        expected: the users at the end, the dead letters, and how many records are passed over.
    """

    def __init__(self, directory: Path) -> None:
        self.configuration = directory / "worker.yaml"
        self.schemas: dict[str, Any] = {each.name: json.loads(each.read_text()) for each in directory.glob("*.avsc")}
        self.expected: dict[str, Any] = json.loads((directory / "expected.json").read_text())
        lines = (directory / "records.jsonl").read_text().splitlines()
        self._records = [json.loads(line, object_hook=_wire_form) for line in lines]

    def settings(self) -> Settings:
        return load(self.configuration, {}, _NEEDED).settings

    def written(self, ids: Mapping[str, int]) -> Iterable[Written]:
        """The records, framed with the ids of the schemas."""
        for each in self._records:
            key_schema = "key.avsc" if "key.avsc" in self.schemas else None
            value_schema = each.get("schema", "value.avsc")
            yield Written(self._bytes(key_schema, each.get("key"), ids), self._bytes(value_schema, each["value"], ids))

    def _bytes(self, schema: str | None, datum: object, ids: Mapping[str, int]) -> bytes | None:
        if datum is None or isinstance(datum, bytes):
            return datum
        if schema is None:
            return datum.encode() if isinstance(datum, str) else json.dumps(datum).encode()
        return framed(ids[schema], body(self.schemas[schema], datum))


def _wire_form(found: dict[str, Any]) -> object:
    """What JSON has no form for: `{"decimal": "50.82"}` are a decimal's bytes, `{"bytes": "ff00"}` any other."""
    match found:
        case {"decimal": str(text), **rest} if not rest:
            digits = int(text.replace(".", ""))
            return digits.to_bytes(digits.bit_length() // 8 + 1, "big", signed=True)
        case {"bytes": str(text), **rest} if not rest:
            return bytes.fromhex(text)
    return found


def by_user(users: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What users hold, by their identifiers."""
    return {json.dumps(each["user"], sort_keys=True): each["attributes"] for each in users}

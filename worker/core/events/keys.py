"""How a record's Kafka key is read, if the mapping looks at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from worker.core.avro.framing import Framed, framed
from worker.core.avro.schema import AvroType, Undecodable
from worker.core.model import Record

KEY_FRAMINGS = ("confluent", "none", "text", "integer")
_INTEGER_BYTES = (2, 4, 8)
_HINT = "WORKER_SCHEMAS__KEY_FRAMING says how keys are written"


@dataclass(frozen=True, slots=True)
class KeyForm:
    """What the bytes of a key are.

    Attributes:
        framing: `confluent`: Avro that names its schema, as values do; `none`: bare Avro; `text`: UTF-8; `integer`: a
            whole number as Kafka's own serializers write it, in 2, 4 or 8 bytes.
        schema: Of bare Avro.
    """

    framing: str = "confluent"
    schema: object | None = None

    @property
    def fixed(self) -> AvroType | None:
        """The one type of all keys. None if each names its own.

        Raises:
            InvalidSchema: The schema is not valid Avro.
        """
        if self.framing == "confluent":
            return None
        plain = {"text": "string", "integer": "long"}
        return AvroType(plain.get(self.framing, self.schema))

    @property
    def plain(self) -> Callable[[bytes], object] | None:
        """Reads a key that is not Avro, and raises Undecodable. None: it is Avro."""
        return {"text": text_of, "integer": integer_of}.get(self.framing)

    def framed(self, record: Record) -> Framed:
        """The schema of the record's key, and where its bytes begin. A record without a key has neither.

        Raises:
            Undecodable: The framing is none.
        """
        if self.framing != "confluent" or record.key is None:
            return Framed(None, 0)
        try:
            return framed(record.key, record.headers, "__key_schema_id")
        except Undecodable as why:
            raise Undecodable(f"key: {why}; {_HINT}") from None


def text_of(key: bytes) -> str:
    """A key of plain text.

    Raises:
        Undecodable: It is none.
    """
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise Undecodable(f"key: it is not UTF-8 text; {_HINT}") from None


def integer_of(key: bytes) -> int:
    """A key that is a whole number.

    Raises:
        Undecodable: It has another length.
    """
    if len(key) not in _INTEGER_BYTES:
        raise Undecodable(f"key: a whole number has 2, 4 or 8 bytes, this one {len(key)}; {_HINT}")
    return int.from_bytes(key, "big", signed=True)

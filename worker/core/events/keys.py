"""How a record's Kafka key is read, if the mapping looks at it."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.avro.framing import Framed, framed
from worker.core.avro.schema import AvroType, Undecodable
from worker.core.model import Record

KEY_FRAMINGS = ("confluent", "none", "text")


@dataclass(frozen=True, slots=True)
class KeyForm:
    """What the bytes of a key are.

    Attributes:
        framing: `confluent`: Avro that names its schema, as values do; `none`: bare Avro; `text`: UTF-8.
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
        return AvroType("string" if self.framing == "text" else self.schema)

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
            raise Undecodable(f"key: {why}") from None

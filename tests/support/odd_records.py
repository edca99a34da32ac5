"""Produces records that the Python client cannot write: header names that are not text, any timestamp.

It calls the client's own librdkafka, as a producer in C does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import confluent_kafka

_PRODUCER = 0
_END, _TOPIC, _PARTITION, _VALUE, _KEY, _FLAGS, _TIMESTAMP, _HEADERS = 0, 1, 3, 4, 5, 7, 8, 10
_COPY = 2
_FLUSH_MS = 20_000
_LARGEST_BYTES = 10_000_000  # the broker decides what is too large


@dataclass(frozen=True)
class Odd:
    """One record. A timestamp of None means now."""

    value: bytes | None
    key: bytes | None = b""
    headers: tuple[tuple[bytes, bytes | None], ...] = ()
    timestamp_ms: int | None = None
    partition: int = -1  # by the key

    @property
    def size_bytes(self) -> int:
        """Its value, its key and its headers in bytes."""
        headers = sum(len(name) + len(data or b"") for name, data in self.headers)
        return len(self.value or b"") + len(self.key or b"") + headers


class OddProducer:
    """A producer in C. A context manager: it ends with the block."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._library = _library()
        self._client = _client(self._library, bootstrap_servers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.rd_kafka_destroy(self._client)

    def write(self, topic: str, records: Iterable[Odd]) -> None:
        """Writes the records in order, and waits until they are there."""
        for record in records:
            arguments: list[object] = [ctypes.c_int(_TOPIC), ctypes.c_char_p(topic.encode())]
            arguments += [ctypes.c_int(_PARTITION), ctypes.c_int32(record.partition)]
            arguments += [ctypes.c_int(_FLAGS), ctypes.c_int(_COPY)]
            for kind, data in ((_VALUE, record.value), (_KEY, record.key)):
                arguments += [ctypes.c_int(kind), ctypes.c_char_p(data), ctypes.c_size_t(len(data or b""))]
            if record.timestamp_ms is not None:
                arguments += [ctypes.c_int(_TIMESTAMP), ctypes.c_int64(record.timestamp_ms)]
            arguments += [ctypes.c_int(_HEADERS), self._headers(record)]
            assert self._library.rd_kafka_producev(self._client, *arguments, ctypes.c_int(_END)) == 0
        assert self._library.rd_kafka_flush(self._client, _FLUSH_MS) == 0

    def _headers(self, record: Odd) -> ctypes.c_void_p:
        headers = ctypes.c_void_p(self._library.rd_kafka_headers_new(len(record.headers)))  # librdkafka frees it
        for name, data in record.headers:
            size = ctypes.c_ssize_t(len(data or b""))
            assert self._library.rd_kafka_header_add(headers, name, ctypes.c_ssize_t(len(name)), data, size) == 0
        return headers


def produce(bootstrap_servers: str, topic: str, records: Iterable[Odd]) -> None:
    """Writes the records in order, and waits until they are there."""
    with OddProducer(bootstrap_servers) as producer:
        producer.write(topic, records)


def _library() -> ctypes.CDLL:
    folder = Path(confluent_kafka.__file__).parent
    [path] = [*folder.parent.glob("confluent_kafka.libs/librdkafka*"), *folder.glob(".dylibs/librdkafka*")]
    library = ctypes.CDLL(str(path))
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_headers_new.restype = ctypes.c_void_p
    return library


def _client(library: ctypes.CDLL, bootstrap_servers: str) -> ctypes.c_void_p:
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    error = ctypes.create_string_buffer(512)
    settings = {"bootstrap.servers": bootstrap_servers, "log_level": "2", "message.max.bytes": str(_LARGEST_BYTES)}
    for name, value in settings.items():
        refused = library.rd_kafka_conf_set(configuration, name.encode(), value.encode(), error, len(error))
        assert refused == 0, error.value
    client = library.rd_kafka_new(_PRODUCER, configuration, error, len(error))
    assert client, error.value
    return ctypes.c_void_p(client)

"""Produces records that the Python client cannot write: header names that are not text, any timestamp.

It calls the client's own librdkafka, as a producer in C does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import confluent_kafka

_PRODUCER = 0
_END, _TOPIC, _PARTITION, _VALUE, _KEY, _FLAGS, _TIMESTAMP, _HEADERS = 0, 1, 3, 4, 5, 7, 8, 10
_COPY = 2
_FLUSH_MS = 20_000


@dataclass(frozen=True)
class Odd:
    """One record. A timestamp of None means now."""

    value: bytes
    key: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    timestamp_ms: int | None = None
    partition: int = -1  # by the key


def produce(bootstrap_servers: str, topic: str, records: Iterable[Odd]) -> None:
    """Writes the records in order, and waits until they are there."""
    library = _library()
    client = _client(library, bootstrap_servers)
    for record in records:
        arguments: list[object] = [ctypes.c_int(_TOPIC), ctypes.c_char_p(topic.encode())]
        arguments += [ctypes.c_int(_PARTITION), ctypes.c_int32(record.partition)]
        arguments += [ctypes.c_int(_FLAGS), ctypes.c_int(_COPY)]
        for kind, data in ((_VALUE, record.value), (_KEY, record.key)):
            arguments += [ctypes.c_int(kind), ctypes.c_char_p(data), ctypes.c_size_t(len(data))]
        if record.timestamp_ms is not None:
            arguments += [ctypes.c_int(_TIMESTAMP), ctypes.c_int64(record.timestamp_ms)]
        headers = ctypes.c_void_p(library.rd_kafka_headers_new(len(record.headers)))  # librdkafka frees it
        for name, data in record.headers:
            added = library.rd_kafka_header_add(headers, name, ctypes.c_ssize_t(len(name)), data, len(data))
            assert added == 0
        arguments += [ctypes.c_int(_HEADERS), headers]
        assert library.rd_kafka_producev(client, *arguments, ctypes.c_int(_END)) == 0
    assert library.rd_kafka_flush(client, _FLUSH_MS) == 0
    library.rd_kafka_destroy(client)


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
    for name, value in (("bootstrap.servers", bootstrap_servers), ("log_level", "2")):
        refused = library.rd_kafka_conf_set(configuration, name.encode(), value.encode(), error, len(error))
        assert refused == 0, error.value
    client = library.rd_kafka_new(_PRODUCER, configuration, error, len(error))
    assert client, error.value
    return ctypes.c_void_p(client)

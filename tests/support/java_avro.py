"""Apache Avro for Java, in a process of its own: which schemas it takes, and random records that it writes."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.java import Unavailable, avro_jars, java

_PROBE = Path(__file__).with_name("AvroProbe.java")


@dataclass(frozen=True, slots=True)
class Written:
    """A record's bytes, and the value that Java reads in them: see `AvroProbe.java` for its form."""

    data: bytes
    value: Any


class Refused(Exception):
    """Java does not take the schema. The message says why."""


class JavaAvro:
    """One JVM, which answers one question after the other.

    Raises:
        Unavailable: There is no JDK, or no Maven to fetch Avro with.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            java("-cp", f"{avro_jars()}/*", str(_PROBE)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        try:
            self.records(["string"], seed=0, count=0)
        except BrokenPipeError:
            raise Unavailable(
                f"this Java compiles nothing (apt-get install default-jdk-headless): {self._last_words()}"
            ) from None

    def records(self, schemas: Sequence[object], *, seed: int, count: int) -> list[Written]:
        """So many random records of the last schema, which may use types of those before it.

        Raises:
            Refused: Java does not take a schema.
        """
        question = {"schemas": [json.dumps(schema) for schema in schemas], "seed": seed, "count": count}
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise BrokenPipeError(self._last_words())
        answer = json.loads(line)
        if "refused" in answer:
            raise Refused(answer["refused"])
        return [Written(b64decode(record["bytes"]), record["value"]) for record in answer["records"]]

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _last_words(self) -> str:
        return self._process.communicate()[1][-300:]

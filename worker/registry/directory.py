"""Writer schemas from a directory of files."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from worker.core.avro.schema import AvroType, InvalidSchema, full_name
from worker.core.avro.text import schema_in
from worker.core.model import SCHEMA_ID_MAX, SchemaId

_DEAD_LETTER = "profile.v1.DeadLetter"
_RECEIPT = "profile.v1.Receipt"
_NUMBER = re.compile("0|[1-9][0-9]*")
_UNKNOWN_KEPT = 10_000
_UNKNOWN_REMEMBERED_SECONDS = 300.0


class DirectorySchemas:
    """Schemas as files `<id>.avsc`, by number or GUID. Each file is read when a record has its id.

    A file may be added later: when the directory changes, ids answered as unknown are looked up again.

    Args:
        directory: The directory of the files. If one has `profile.v1.DeadLetter`, dead letters get its id, else 0.
            Receipts likewise, by `profile.v1.Receipt`.
        unknown_id_seconds: For so long a missing file is waited for, before the answer is that the id does not exist.
        clock: Seconds, as `time.monotonic()`.

    Raises:
        ValueError: The directory cannot be read, or the name of a file is no id, or its content is not a valid Avro
            schema. Says which.
    """

    def __init__(
        self, directory: Path, unknown_id_seconds: float = 30.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._unknown_id_seconds = unknown_id_seconds
        self._clock = clock
        self._answers: list[tuple[SchemaId, object | None]] = []
        self._unknown: dict[SchemaId, tuple[float, float]] = {}  # when its file was first and last missed
        self._problems: dict[SchemaId, str] = {}
        self._asked: set[SchemaId] = set()  # since the last call of `answers`
        self._own_ids = dict.fromkeys((_DEAD_LETTER, _RECEIPT), 0)
        self._changed = _changed(directory)
        if self._changed is None:
            raise ValueError(_unreadable(directory))
        for path in sorted(directory.glob("*.avsc")):
            schema_id = _id_of(path)
            if (name := full_name(read_schema(path))) in self._own_ids and isinstance(schema_id, int):
                self._own_ids[name] = schema_id

    def request(self, schema_id: SchemaId) -> None:
        """Reads the file of this id now.

        A broken file gets no answer: somebody may be writing it just now. Nor does any while the directory cannot be
        read.
        """
        path = self._directory / f"{schema_id}.avsc"
        self._asked.add(schema_id)
        try:
            schema = self._schema_in(path)
        except ValueError as error:
            self._problems[schema_id] = str(error)
            return
        if schema is None and self._may_come(schema_id):
            self._problems[schema_id] = (
                f"there is no {path}; waits {self._unknown_id_seconds:g} s for it, "
                "before its records become dead letters"
            )
            return
        self._problems.pop(schema_id, None)
        if schema is not None:
            self._unknown.pop(schema_id, None)
        self._answers.append((schema_id, schema))

    def answers(self) -> list[tuple[SchemaId, object | None]]:
        """The schemas read since the last call, and those whose files were missing and have appeared."""
        if self._unknown and (changed := _changed(self._directory)) != self._changed:
            self._changed = changed
            for schema_id in [*self._unknown]:
                if os.path.lexists(self._directory / f"{schema_id}.avsc"):
                    self.request(schema_id)
        # At each turn, the loop requests every schema it needs. If it stopped, the id's partition was dropped.
        self._problems = {schema_id: why for schema_id, why in self._problems.items() if schema_id in self._asked}
        self._asked.clear()
        taken, self._answers = self._answers, []
        return taken

    def dead_letter_schema_id(self) -> int | None:
        """The id of the file with the dead letter's schema, or 0."""
        return self._own_ids[_DEAD_LETTER]

    def receipt_schema_id(self) -> int | None:
        """The id of the file with the receipt's schema, or 0."""
        return self._own_ids[_RECEIPT]

    def waiting(self) -> str | None:
        """A broken or missing file that a record needs. None if there is none."""
        return next(iter(self._problems.values()), None)

    def close(self) -> None:
        """Nothing is open."""

    def _schema_in(self, path: Path) -> object | None:
        """The schema in a file. None if there is no such file.

        Raises:
            ValueError: The file or the directory cannot be read, or the content is not a valid Avro schema.
        """
        if os.path.lexists(path):  # also a link that leads nowhere: what it leads to may come
            return read_schema(path)
        if _changed(self._directory) is None:
            raise ValueError(_unreadable(self._directory))
        return None

    def _may_come(self, schema_id: SchemaId) -> bool:
        """Whether a missing file is still waited for."""
        now = self._clock()
        first, last = self._unknown.pop(schema_id, (now, now))
        if now > last + _UNKNOWN_REMEMBERED_SECONDS:
            first = now
        if len(self._unknown) >= _UNKNOWN_KEPT:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[schema_id] = (first, now)
        return now < first + self._unknown_id_seconds


def _unreadable(directory: Path) -> str:
    return f"the schema directory {directory} cannot be read; mend the path or its permissions"


def _changed(directory: Path) -> int | None:
    """When a file was last added or removed. None if the directory cannot be read."""
    try:
        if not directory.is_dir() or not os.access(directory, os.R_OK | os.X_OK):
            return None
        return directory.stat().st_mtime_ns
    except OSError:
        return None


def _id_of(path: Path) -> SchemaId:
    stem = path.stem
    if _NUMBER.fullmatch(stem):
        if len(stem) > len(str(SCHEMA_ID_MAX)) or int(stem) > SCHEMA_ID_MAX:
            raise ValueError(f"{path}: schema ids end at {SCHEMA_ID_MAX}, so no record can name this one")
        return int(stem)
    with suppress(ValueError):
        if stem == str(UUID(stem)):
            return stem
    raise ValueError(f"{path}: name the file by the schema id, as in 7.avsc")


def read_schema(path: Path) -> object:
    """The schema in a file.

    Raises:
        ValueError: The file cannot be read, or its content is not a valid Avro schema.
    """
    try:
        schema = schema_in(path.read_text(encoding="utf-8-sig"))
        AvroType(schema)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except InvalidSchema as error:
        raise ValueError(f"{path}: {error}") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deep") from None
    except (OSError, ValueError) as error:  # not UTF-8, or a number of thousands of digits
        raise ValueError(f"{path}: cannot be read: {error}") from None
    return schema

"""How many records a poll asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.core.model import Record

_RECORDS_MAX: Final = 500
_RECORDS_FIRST: Final = 10  # the first poll shows how large the records are
_BYTES: Final = 2 * 1024 * 1024


class Batch:
    """Asks for about 2 MiB: the memory budget is checked only between two polls.

    Attributes:
        records_max: how many records to ask for, at least 1.
    """

    def __init__(self) -> None:
        self.records_max = _RECORDS_FIRST

    def took(self, records: Sequence[Record]) -> None:
        """A poll brought these records: the next ones are probably as large."""
        if records:
            size_bytes = sum(record.size_bytes for record in records) / len(records)
            self.records_max = max(1, min(_RECORDS_MAX, int(_BYTES / (size_bytes + 1))))

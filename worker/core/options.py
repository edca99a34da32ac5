"""The core's limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Names, meanings and defaults are those of the settings.

    Except `trace_links_max`, which bounds the links of a span. 0: calls are not traced, and no trace context is read.
    And `receipts`: whether a call's end tells what the call was for.
    """

    window_seconds: float
    max_bytes: int
    requests_per_second: float
    concurrency: int
    timeout_seconds: float
    retry_after_max_seconds: float
    probe_max_seconds: float
    server_error_seconds: float
    calls_per_entry_max: int
    storm_letters_max: int
    storm_share_max: float
    trace_links_max: int = 0
    receipts: bool = False

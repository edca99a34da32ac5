"""The core's limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Names, meanings and defaults are those of the settings."""

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

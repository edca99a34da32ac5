"""The limits that the core keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Names and meaning are those of the settings."""

    window_seconds: float = 5.0
    max_bytes: int = 256 * 1024 * 1024
    requests_per_second: float = 150.0
    concurrency: int = 32
    timeout_seconds: float = 10.0
    retry_after_max_seconds: float = 300.0
    probe_max_seconds: float = 10.0
    server_error_seconds: float = 300.0
    calls_per_entry_max: int = 40
    storm_letters_max: int = 40
    storm_share_max: float = 0.5

"""The core's limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Names, meanings and defaults are those of the settings.

    Except four. `trace_links_max` bounds the links of a span (0: calls are not traced, and no trace context is read).
    With `search_yields`, a search for a user's refused attributes begins anew when a newer change of the user comes: a
    job needs that, since others may have sent the newer value already. With `receipts`, a call's end tells what the
    call was for. Without `storms`, refused calls never halt it, however many: a redrive's letters are letters already.
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
    search_yields: bool = False
    receipts: bool = False
    storms: bool = True
    sparing_users_max: int = 0
    sparing_seconds: float = 0.0

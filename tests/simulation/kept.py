"""Seeds that once failed, and what they found."""

from __future__ import annotations

from typing import Final

KEPT: Final[dict[int, str]] = {
    912: "a probe of an earlier halt ended the wait for the present one: two probes at once",
    1086: "the same, by redirects",
    213: "a sender asked the new lease for a call of the old one, and wrote it",
    694: "the same, where the main loop woke between its poll and its calls",
}

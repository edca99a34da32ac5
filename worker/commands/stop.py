"""Whether a signal has asked for a stop."""

from __future__ import annotations

import signal
from types import FrameType


class Stop:
    """Takes SIGTERM, SIGINT and SIGHUP from now on. A second signal changes nothing: each drain has its deadline."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # SIGHUP: a terminal that is closed
            signal.signal(number, self._request)

    def _request(self, _: int, __: FrameType | None) -> None:
        self.requested = True

"""Are live workers done with the records that letters came from?"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from worker.core.model import Partition, Source

BEHIND: Final = (
    "live workers have not committed their records yet, and may still send older values: run it again once they have"
)
_LOOKS: Final = 20
_PAUSE_SECONDS: Final = 0.5


class LiveWorkers:
    """Tells whether live workers are done with a letter's records: whether their group has committed these.

    A worker commits a record once nothing is left to do of what it holds of that user. Until then it may still send
    older values: those that wait for their call, and those that it falls back on where a newer one was refused. Whoever
    joins the group later reads what is not committed again, and ends with the newest value.

    Args:
        reads: the partitions that live workers read. Nobody sends anything of others.
        committed: asks for the group's committed offsets. A partition without one is left out. None if the group has
            no members. May raise GroupUnavailable.
        stopped: whether to wait no longer.
    """

    def __init__(
        self,
        reads: Collection[Partition],
        committed: Callable[[], Mapping[Partition, int] | None],
        stopped: Callable[[], bool],
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._reads = reads
        self._ask = committed
        self._stopped = stopped
        self._pause = pause
        self._committed: Mapping[Partition, int] | None = {}
        self._looks = _LOOKS

    def fault(self, sources: Iterable[Source]) -> str | None:
        """Why live workers may still send older values of these records' user. None if they do not.

        Waits for them: about ten seconds in all, however many letters it is asked about. By default they commit once a
        second.
        """
        done = all(self._are_done(source) for source in sources if source.partition in self._reads)
        return None if done else BEHIND

    def _are_done(self, source: Source) -> bool:
        while self._committed is not None and self._committed.get(source.partition, 0) <= source.offset:
            if not self._looks or self._stopped():
                return False
            if self._looks < _LOOKS:
                self._pause(_PAUSE_SECONDS)
            self._looks -= 1
            self._committed = self._ask()
        return True

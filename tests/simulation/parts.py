"""Models of what else stands behind the ports of the loop: the dead-letter topic, the registry, the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.model import Letter

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.member import Member


class DeadLetters:
    """The port `worker.live.ports.DeadLetters`."""

    def __init__(self, cluster: Cluster, member: Member) -> None:
        self._cluster = cluster
        self._member = member
        self._results: list[tuple[Letter, str | None]] = []

    def publish(self, letter: Letter) -> None:
        """What becomes of it the cluster decides."""
        cluster, member = self._cluster, self._member
        cluster.note(member, "letter", letter)
        cluster.oracle.published(letter, member.reach(), cluster.timeline.now)
        member.senders.closedness.writing(letter, cluster.plan.options.storm_letters_max)
        cluster.publish(letter, self._reported)

    def results(self) -> list[tuple[Letter, str | None]]:
        """What was decided since the last look."""
        results, self._results = self._results, []
        return results

    def _reported(self, letter: Letter, error: str | None) -> None:
        self._results.append((letter, error))
        self._member.wake()


class Schemas:
    """The port `worker.live.ports.Schemas`."""

    def __init__(self, cluster: Cluster, member: Member) -> None:
        self._cluster = cluster
        self._member = member
        self._asked: set[int] = set()
        self._answers: list[tuple[int, object | None]] = []

    def request(self, schema_id: int) -> None:
        """Asks once, until it is answered."""
        if schema_id not in self._asked:
            self._asked.add(schema_id)
            self._cluster.ask_registry(schema_id, self._came)

    def answers(self) -> list[tuple[int, object | None]]:
        """What came since the last look."""
        answers, self._answers = self._answers, []
        return answers

    def dead_letter_schema_id(self) -> int | None:
        """Known from the start."""
        return 0

    def waiting(self) -> str | None:
        """Nobody asks."""
        return None

    def close(self) -> None:
        """Nothing is open."""

    def _came(self, schema_id: int) -> None:
        self._asked.discard(schema_id)
        self._answers.append((schema_id, {}))
        self._member.wake()


class Token:
    """The port `worker.live.ports.Token`: always the same one."""

    def reload(self) -> bool:
        """Never another one."""
        return False

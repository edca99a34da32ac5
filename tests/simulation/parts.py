"""Models of three more ports of the loop: the dead-letter producer, the registry client, the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.model import Letter, SchemaId

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.job import Job
    from tests.simulation.member import Member


class DeadLetters:
    """Implements the port `worker.live.ports.DeadLetters`."""

    def __init__(self, cluster: Cluster, member: Member | Job) -> None:
        self._cluster = cluster
        self._member = member
        self._results: list[tuple[Letter, str | None]] = []

    def publish(self, letter: Letter) -> None:
        """Checks the letter and hands it to the cluster, which decides its fate."""
        cluster, member = self._cluster, self._member
        cluster.add_to_trace(member, "letter", letter)
        member.watch.published(letter, member.reach(), cluster.timeline.now)
        member.senders.gate_check.writing(letter, cluster.plan.options.storm_letters_max)
        cluster.publish(letter, member.watch.written, self._reported)

    def results(self) -> list[tuple[Letter, str | None]]:
        """The letters whose fate was reported since the last call."""
        results, self._results = self._results, []
        return results

    def _reported(self, letter: Letter, error: str | None) -> None:
        self._results.append((letter, error))
        self._member.wake()


class Schemas:
    """Implements the port `worker.live.ports.Schemas`."""

    def __init__(self, cluster: Cluster, member: Member) -> None:
        self._cluster = cluster
        self._member = member
        self._asked: set[SchemaId] = set()
        self._answers: list[tuple[SchemaId, object | None]] = []

    def request(self, schema_id: SchemaId) -> None:
        """Asks the registry, unless the same question is already open."""
        if schema_id not in self._asked:
            self._asked.add(schema_id)
            self._cluster.ask_registry(schema_id, self._came)

    def answers(self) -> list[tuple[SchemaId, object | None]]:
        """The answers since the last call."""
        answers, self._answers = self._answers, []
        return answers

    def dead_letter_schema_id(self) -> int | None:
        """An id that is known from the start: letters never wait for it."""
        return 0

    def receipt_schema_id(self) -> int | None:
        """None: nobody writes receipts."""
        return None

    def waiting(self) -> str | None:
        """None: no check reads it."""
        return None

    def close(self) -> None:
        """Does nothing: it holds nothing open."""

    def _came(self, schema_id: SchemaId) -> None:
        self._asked.discard(schema_id)
        self._answers.append((schema_id, {}))
        self._member.wake()


class Token:
    """Implements the port `worker.live.ports.Token`; the token never changes."""

    def reload(self) -> bool:
        """False: it is the same token."""
        return False

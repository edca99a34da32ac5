"""One worker: the real engine and lease, and a model of the shell around them.

It does step by step what worker/shell.py does (poll, receive, replies, calls, letters, pauses, commit; drain within a
revoke or a stop), but it takes a turn only when there is something to take it for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from tests.simulation.closedness import Closedness
from tests.simulation.contact import Contact, Drain, Queues, Told
from tests.simulation.plan import COMMIT_SECONDS, DRAIN_SECONDS, LEASE_SECONDS, NUMBERS
from tests.simulation.promises import PromiseBroken
from tests.simulation.reading import Reading
from tests.simulation.senders import Senders
from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.model import Letter, Partition
from worker.live.lease import Lease

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

_IDLE_SECONDS = 0.25  # between looks, where the engine waits for something other than time
_TURNS_MAX = 20_000


class Member:
    """A worker's one life, from its start to its stop or crash."""

    def __init__(self, cluster: Cluster, slot: int, life: int) -> None:
        self.name = f"w{slot}.{life}"
        self.slot = slot
        self.alive = True
        self.stopping = False
        self.frozen = False
        self._contact = Contact()
        self.reading = Reading(cluster)
        self._cluster = cluster
        self._timeline = cluster.timeline
        self._lease = Lease(LEASE_SECONDS, lambda: cluster.timeline.now)
        self.senders = Senders(cluster, self, self.wake, self._lease.holds)
        self.engine = Engine(
            cluster.plan.options,
            decoder=cast("Decoder", cluster.catalogue.decoder()),
            preflight=cluster.preflight,
            backoff=cluster.backoff,
            now=self._timeline.instant(),
        )
        self._asked_schemas: set[int] = set()
        self._closedness = Closedness()
        self._queues = Queues()
        self._drains: list[Drain] = []
        self._fenced = False
        self._amid_turn = False
        self._next_turn = float("inf")
        self._commit_at = self._timeline.now + COMMIT_SECONDS
        self._turns = 0

    def __repr__(self) -> str:
        return self.name

    @property
    def at_rest(self) -> bool:
        """Nothing is held, under way or unread."""
        engine = self.engine
        return not (engine.open_entries or engine.in_flight or engine.letters_waiting or self._drains)

    @property
    def isolated(self) -> bool:
        """Whether it reaches the brokers no more, though it may reach the destination."""
        return self._contact.lost

    def cut_off(self) -> None:
        """The way to the brokers is gone."""
        self._contact.since = self._timeline.now
        self.wake()

    def reconnect(self) -> None:
        """The way to the brokers is there again."""
        self._contact.since = None
        self.wake()

    def wake(self, _: object = None) -> None:
        """Something came: take a turn now."""
        self.wake_at(self._timeline.now)

    def wake_at(self, when: float) -> None:
        """Take a turn at that instant, if none comes earlier."""
        if self.alive and when < self._next_turn:
            self._next_turn = when
            self._timeline.at(when, self._turn, when)

    def tell(self, what: str, partitions: list[int], generation: int) -> None:
        """The coordinator's word, for the next poll."""
        if what == "lost":
            self._queues.coordinator.clear()
        self._queues.coordinator.append(Told(what, partitions, generation))
        self.wake()

    def stop(self) -> None:
        """SIGTERM: drain everything, commit, leave the group."""
        self.stopping = True
        self.wake()

    def crash(self) -> None:
        """SIGKILL: what was sent may still be applied; everything else is gone."""
        self.alive = False
        self._cluster.oracle.excuse_duplicates()
        self.senders.crash()

    def freeze(self) -> None:
        """SIGSTOP: all threads stop where they are."""
        self.frozen = True
        self.senders.freeze()

    def thaw(self, *, amid_turn: bool) -> None:
        """SIGCONT. With `amid_turn` the main loop stood between its poll and its calls."""
        self.frozen = False
        self._amid_turn = amid_turn
        self.senders.thaw()
        self.wake()

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _turn(self, when: float) -> None:
        if not self.alive or self.frozen or when != self._next_turn:
            if self.frozen:
                self._next_turn = float("inf")
            return
        self._next_turn = float("inf")
        self._turns += 1
        if self._turns > _TURNS_MAX:
            raise PromiseBroken("liveness", f"{self} spins")
        if self._amid_turn:
            self._amid_turn = False
            self._perform()
        if self._drains:
            self._drain_on()
        else:
            self._work()
        if self.alive:
            self._plan_turn()

    def _work(self) -> None:
        self._hear()
        if self._drains:
            self.wake()
            return
        records = self.reading.fetch()
        if len(records) == self._cluster.plan.poll_records:
            self.wake_at(self._timeline.now + 0.001)
        if records:
            self.engine.receive(records, self._timeline.instant())
        self._perform()
        self.reading.paused = self.engine.paused()
        if self._timeline.now >= self._commit_at:
            self._commit_at = self._timeline.now + COMMIT_SECONDS
            self._commit()
        if self._fenced:
            self._fenced = False
            self._begin_drain(sorted(self.reading.held), self._rejoin)
            self.wake()

    def _plan_turn(self) -> None:
        now = self._timeline.now
        ahead = self.engine.next_wakeup(self._timeline.instant())
        if ahead <= now and not self.engine.in_flight:
            ahead = now + _IDLE_SECONDS
        if ahead > now:
            self.wake_at(ahead)
        if self.reading.held and now < (out_at := self._contact.misses_at):
            self.wake_at(out_at)
        self.wake_at(self._drains[-1].deadline if self._drains else self._commit_at)

    def _hear(self) -> None:
        """What a poll hears of the group. A revoke's callback does not return before it is drained."""
        queue = self._queues.coordinator
        drains = len(self._drains)
        while queue and len(self._drains) == drains:
            if self.isolated and (queue[0].what != "lost" or self._cluster.plan.brokers_lead):
                break
            told = queue.popleft()
            if told.what == "revoke":
                self._revoked([partition for partition in told.partitions if partition in self.reading.held])
            elif told.what == "assign":
                self._assigned(told)
            else:
                self._cluster.note(self, "lost", sorted(self.reading.held))
                self._cluster.oracle.excuse_duplicates()
                self._drop(sorted(self.reading.held))
                self._cluster.join(self)
        if self.stopping and not self._drains:
            self._begin_drain(None, self._left)

    def _commit(self) -> None:
        note = self.engine.letters_spent
        offsets = self.reading.uncommitted(self.engine.committable(), self.reading.held, note)
        if offsets:
            self._cluster.oracle.committing(offsets)
            self._cluster.note(self, "commit", offsets)
            if not self.isolated:
                self._cluster.commits.later(self, self.reading.generation, offsets, note, self.reading.committed)

    # -- rebalance ---------------------------------------------------------------------------------------------------

    def _assigned(self, told: Told) -> None:
        self._cluster.note(self, "assigned", told.partitions)
        notes = self._cluster.group.notes
        self.reading.gained(told.partitions, told.generation)
        self.engine.assigned(self._named(told.partitions))
        for note in [notes[partition] for partition in told.partitions if partition in notes]:
            self.engine.restore_letters_spent(note)
        self._share()

    def _revoked(self, partitions: list[int]) -> None:
        self._begin_drain(partitions, lambda: self._cluster.group.revoked(self, partitions))

    def _begin_drain(self, partitions: list[int] | None, finished: Callable[[], None]) -> None:
        self._cluster.note(self, "drains", "all" if partitions is None else partitions)
        deadline = min([self._timeline.now + DRAIN_SECONDS, *(drain.deadline for drain in self._drains)])
        self._drains.append(Drain(partitions, deadline, finished))
        self.engine.draining(self._named(partitions), deadline)

    def _drain_on(self) -> None:
        engine, drain = self.engine, self._drains[-1]
        if drain.partitions is None:
            self._hear()
            if self._drains[-1] is not drain:
                self.wake()
                return
        leaving = self._named(drain.partitions)
        hopeless = engine.halt is not None and not engine.in_flight and not engine.letters_waiting
        if not engine.drained(leaving) and self._timeline.now < drain.deadline and not hopeless:
            self._perform()
            if not engine.drained(leaving):
                return
        leaving_numbers = {partition.number for partition in leaving}
        note = engine.letters_spent
        offsets = self.reading.uncommitted(engine.committable(), leaving_numbers, note)
        self._cluster.oracle.committing(offsets)
        taken = not self.isolated and self._cluster.commits.now(self, self.reading.generation, offsets, note)
        if not taken or not engine.drained(leaving):
            self._cluster.oracle.excuse_duplicates()
        self._cluster.note(self, "drained" if taken else "drained, not committed", offsets)
        self._drop(sorted(leaving_numbers))
        self._drains.pop()
        if self._drains:
            self.engine.draining(self._named(None), self._drains[-1].deadline)
        drain.finished()
        self.wake()

    def _rejoin(self) -> None:
        self._queues.coordinator.clear()
        self._cluster.leave(self)
        self._cluster.join(self)

    def _left(self) -> None:
        self.alive = False
        self.senders.close()
        self._cluster.leave(self)

    def _drop(self, partitions: list[int]) -> None:
        dropped = self.engine.dropped(self._named(partitions))
        for call in dropped:
            self._closedness.forgotten(call)
        self.senders.abort(dropped)
        self.reading.gone(partitions)
        self._share()

    def _share(self) -> None:
        self.engine.share(len(self.reading.held) / self._cluster.plan.partitions, self._timeline.instant())

    def _named(self, partitions: list[int] | None) -> list[Partition]:
        numbers = sorted(self.reading.held) if partitions is None else partitions
        return [self._cluster.logs[number].partition for number in numbers]

    # -- what the engine decides -------------------------------------------------------------------------------------

    def _perform(self) -> None:
        engine = self.engine
        in_callback = bool(self._drains) and self._drains[-1].partitions is not None
        counts = self.reading.held and not in_callback
        unheard_seconds = self._contact.silent_seconds(self._timeline.now) if counts else 0.0
        if self._lease.renew() or not self._lease.heard(unheard_seconds):
            self._cluster.note(self, "fenced", sorted(self.reading.held))
            self._cluster.oracle.excuse_duplicates()
            self._drop(sorted(self.reading.held))
            self._fenced = True
            self._lease.begin()
        now = self._timeline.instant()
        self._exchange_schemas()
        for call, reply in self.senders.replies():
            self._closedness.replied(call, reply, now.mono, self._cluster.plan.options)
            engine.replied(call, reply, now)
        for call in engine.calls(self.senders.free, now):
            self._closedness.starting(call, now.mono)
            if self._drains and now.mono + call.timeout_seconds > self._drains[-1].deadline + 1e-6:
                raise PromiseBroken("bounded", f"{self}: call {call.number} may outlast the drain")
            self.senders.submit(call, self._epoch(NUMBERS[call.user]), self._reach())
        self._exchange_letters()
        engine.facts()

    def _epoch(self, user: int) -> int:
        """The assignment by which a user's call is sent; 0 where the user has two partitions, and so no order."""
        plan, held = self._cluster.plan, self.reading.held
        home = user % plan.partitions
        if user in plan.shared and (home in held or (home + 1) % plan.partitions in held):
            return 0
        if home not in held:
            raise PromiseBroken("fencing", f"{self} sends for user {user}, whose partition is another's")
        return self.reading.epoch(home)

    def _reach(self) -> dict[int, int]:
        """How far the engine has taken in what it holds."""
        return {partition.number: progress.position or 0 for partition, progress in self.engine.progress().items()}

    def _exchange_letters(self) -> None:
        engine, now = self.engine, self._timeline.instant()
        letters, self._queues.letters = self._queues.letters, []
        for letter, error in letters:
            if error is None:
                engine.letter_written(letter, now)
            else:
                engine.letter_failed(letter, error, now)
        if engine.letters_waiting:
            for letter in engine.letters(now):
                self._cluster.note(self, "letter", letter)
                self._cluster.oracle.published(letter, self._reach(), now.mono)
                self._closedness.writing(letter, self._cluster.plan.options.storm_letters_max)
                self._cluster.publish(letter, self._reported)

    def _exchange_schemas(self) -> None:
        answers, self._queues.schemas = self._queues.schemas, []
        for schema_id in answers:
            self._asked_schemas.discard(schema_id)
            self.engine.schema(schema_id, {}, self._timeline.instant())
        for schema_id in self.engine.missing_schemas - self._asked_schemas:
            self._asked_schemas.add(schema_id)
            self._cluster.ask_registry(schema_id, self._schema_came)

    def _schema_came(self, schema_id: int) -> None:
        self._queues.schemas.append(schema_id)
        self.wake()

    def _reported(self, letter: Letter, error: str | None) -> None:
        self._queues.letters.append((letter, error))
        self.wake()

"""What the page says first: the state in one sentence, why, what to do, and the runbook's page about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from worker.core.delivery.gate import HaltReason
from worker.ops.page.words import duration
from worker.ops.status import Halt, Problem, State, Status

LATE_SECONDS: Final = 900
"""As the alert about late delivery has it. The window comes on top."""
MANY_LETTERS: Final = 10
MANY_LETTERS_WITHIN: Final = timedelta(minutes=15)
"""So many dead letters within that time are no longer single bad values. The status keeps just as many."""

_LOST: Final = "Nothing is lost, and delivery goes on by itself once the cause is gone."
_MEND: Final = "Mend that. The worker tries again by itself."

_MENDS: Final[Mapping[Problem, str]] = {
    Problem.RETRY_AFTER: "Nothing, if it passes. If it stays, look who else uses the token.",
    Problem.DEAD_LETTER_TOPIC: "Create the dead-letter topic, or let the worker write to it.",
    Problem.SCHEMA_REGISTRY: "Make the registry reachable. Look at its password and its certificate.",
    Problem.KAFKA: "Look at brokers, password, ACLs and topics. attribute-worker check tries them all.",
    Problem.NO_RECORDS: "Look for READ on the topic, a broker that does not answer, or a transaction that hangs.",
    Problem.NO_EFFECT: "Look for a typo in WORKER_MAPPING__ATTRIBUTES, its rules and WORKER_ATTRIBUTES__ALLOW.",
    Problem.STUCK: "If it waits for its turn: nothing. Else mend that. Don't skip the offset: it is lost then.",
    Problem.RECEIPTS: "Create the receipts' topic, let the worker write to it, or unset WORKER_RECEIPTS__TOPIC.",
}

_HALTS: Final[Mapping[str, str]] = {
    HaltReason.UNAUTHORIZED: "Halted: the destination refuses the token, so nothing is delivered.",
    HaltReason.WRONG_URL: "Halted: what answers is not Attentive's API, so nothing is delivered.",
    HaltReason.UNAVAILABLE: "Halted: the destination does not work, so nothing is delivered.",
    HaltReason.REJECTION_STORM: "Halted: so much cannot be delivered that dead letters are held back.",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """The first words of the page.

    Attributes:
        word: the state, or `stalled`.
        tone: `good`, `warn` or `bad`.
        sentence: the state in one sentence.
        since: when it began.
        to_do: what to do.
        why: what led to it, a sentence each.
        page: the runbook's page about it. None if there is nothing to do.
    """

    word: str
    tone: str
    sentence: str
    since: datetime
    to_do: str
    why: tuple[str, ...] = ()
    page: str | None = None


def headline(status: Status, since: datetime, now: datetime, stall: str | None) -> Headline:
    """The headline of a status that holds since then; of a stall, if there is one."""
    if stall is not None:
        return Headline(
            "stalled",
            "bad",
            "Stalled: the main loop stands still, so nothing is delivered.",
            since,
            "Restart this replica, unless its liveness probe does. What it had not delivered is read again.",
            (stall, "What follows is from before."),
            "AttributeWorkerCrashLoop",
        )
    if status.state is State.DRAINING:
        return _draining(status, since)
    if status.halt is not None:
        return _halted(status, status.halt, now)
    if status.state is State.STARTING or not status.joined:
        return _starting(status, since)
    if status.state is State.THROTTLED:
        return _throttled(status, since)
    return _running(status, since, now)


def _starting(status: Status, since: datetime) -> Headline:
    return Headline(
        status.state.value,
        "warn",
        "Starting: not a member of its consumer group yet, so nothing is delivered.",
        since,
        _mend(status) or "Wait some minutes. If it stays, run attribute-worker check with these settings.",
        (status.problem or "It waits for brokers, topics and the group.",),
        "AttributeWorkerPartitionsUnread",
    )


def _running(status: Status, since: datetime, now: datetime) -> Headline:
    oldest = status.oldest_undelivered_seconds or 0.0
    if status.problem:
        sentence, page = "Running, but a part of the work waits.", "AttributeWorkerProblem"
        return Headline("running", "warn", sentence, since, _mend(status) or _MEND, (status.problem,), page)
    if oldest > LATE_SECONDS + _setting(status, "window.seconds"):
        why = f"The oldest change that was read has waited for {duration(oldest)}."
        to_do = "Find out what holds it back: the rate, slow calls, or one partition."
        return Headline(
            "running", "warn", "Running, but changes come late.", since, to_do, (why,), "AttributeWorkerDeliveryLate"
        )
    letters = [letter for letter in status.latest_dead_letters if now - letter.at <= MANY_LETTERS_WITHIN]
    if len(letters) >= MANY_LETTERS:
        reasons = ", ".join(sorted({letter.reason for letter in letters}))
        within = duration(MANY_LETTERS_WITHIN.total_seconds())
        why = f"The latest {len(letters)} dead letters are from the last {within}: {reasons}."
        sentence, to_do = "Running, but some changes are refused.", "Look at the latest dead letters below."
        return Headline("running", "warn", sentence, since, to_do, (why,), "AttributeWorkerDeadLetters")
    return Headline("running", "good", "Running: changes are delivered.", since, "Nothing.")


def _mend(status: Status) -> str | None:
    """What to do about the most important problem."""
    return _MENDS[status.problems[0]] if status.problems else None


def _setting(status: Status, name: str) -> float:
    seconds = status.settings.get(name)
    return seconds if isinstance(seconds, int | float) else 0.0


def _throttled(status: Status, since: datetime) -> Headline:
    return Headline(
        status.state.value,
        "warn",
        "Throttled: changes are delivered, but slower, since the destination asks for it.",
        since,
        "Nothing, if it passes. If it stays, look who else uses the token.",
        (status.problem or "The destination answered 429: too many calls for the token.",),
        "AttributeWorkerRateUsedUp",
    )


def _halted(status: Status, halt: Halt, now: datetime) -> Headline:
    why = [halt.met, _LOST]
    if halt.next_probe is not None:
        why.append(f"The destination is asked again in {duration((halt.next_probe - now).total_seconds())}.")
    if not status.joined:
        why.append("It is not a member of its consumer group.")
    if status.problem:
        why.append(status.problem)
    return Headline(
        f"halted: {halt.reason}",
        "bad",
        _HALTS.get(halt.reason, "Halted: calls or dead letters are held back."),
        halt.since,
        halt.mend or _MEND,
        tuple(why),
        "AttributeWorkerHalted",
    )


def _draining(status: Status, since: datetime) -> Headline:
    why = ["It stops, or gives partitions away. The next owner reads again what it does not settle in time."]
    if status.halt is not None:
        why.append(f"Its calls are halted ({status.halt.reason}): {status.halt.detail}")
    if status.problem:
        why.append(status.problem)
    return Headline(
        status.state.value,
        "warn",
        "Draining: it delivers and commits what it has read.",
        since,
        f"Nothing: it ends by itself within {duration(_setting(status, 'shutdown.drain_seconds'))}.",
        tuple(why),
        "AttributeWorkerDrainCut",
    )

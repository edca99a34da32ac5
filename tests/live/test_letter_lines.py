"""Dead letters in the log: the first of each reason at once, then one line a minute with counts."""

from __future__ import annotations

from structlog.testing import CapturingLogger

from worker.core.facts import LetterWritten
from worker.core.model import Partition, Reason
from worker.live.letter_lines import LetterLines
from worker.ops.letters import LatestLetters

P3 = Partition("profile-changes", 3)


def letter(reason: Reason, offset: int) -> LetterWritten:
    return LetterWritten(reason, ("tier",), 0, 1_000, P3, offset, f"detail {offset}")


def test_a_reason_is_told_when_it_first_occurs_and_then_once_a_minute_with_the_latest() -> None:
    log, letters = CapturingLogger(), LatestLetters()
    lines = LetterLines(log, letters)
    lines.look(0.0)
    letters.observe(letter(Reason.UNDECODABLE, 1))
    lines.look(1.0)
    for offset in range(2, 12):
        letters.observe(letter(Reason.UNDECODABLE, offset))
        lines.look(2.0)
    letters.observe(letter(Reason.REJECTED, 12))
    lines.look(3.0)
    for now in (60.9, 61.0, 200.0):
        lines.look(now)
    told = [(call.kwargs["reason"], call.kwargs["written"], call.kwargs["since_start"]) for call in log.calls]
    assert told == [("undecodable", 1, 1), ("rejected", 1, 1), ("undecodable", 10, 11)]
    assert (log.calls[-1].method_name, log.calls[-1].args) == ("warning", ("dead_letters",))
    last = log.calls[-1].kwargs
    assert (last["detail"], last["topic"], last["partition"], last["offset"]) == ("detail 11", "profile-changes", 3, 11)


def test_a_letter_without_a_source_has_no_position() -> None:
    log, letters = CapturingLogger(), LatestLetters()
    letters.observe(LetterWritten(Reason.UNDECODABLE, (), 0, 0, None, None, "cut short"))
    LetterLines(log, letters).look(0.0)
    assert (log.calls[0].kwargs["topic"], log.calls[0].kwargs["offset"]) == (None, None)

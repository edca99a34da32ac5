"""Which jumps of the offsets mean that records were deleted unread."""

from __future__ import annotations

import pytest

from worker.core.facts import DeletedUnread
from worker.core.model import Partition, Record
from worker.kafka.positions import Positions

P, Q = Partition("changes", 0), Partition("changes", 1)
DELETED = [DeletedUnread(P, first=10, offsets=30)]


class Log:
    """A partition's log; `start` is its first offset."""

    def __init__(self) -> None:
        self.start = 0
        self.positions = Positions(lambda _: self.start)

    def came(self, *offsets: int) -> None:
        """One poll brings records of P with these offsets."""
        self.positions.came([Record(P, offset, 0, None, None) for offset in offsets])


@pytest.fixture
def log() -> Log:
    return Log()


def test_records_between_the_committed_offset_and_the_start_of_the_log_are_deleted_unread(log: Log) -> None:
    log.positions.begin({P: 10})
    log.start = 40
    log.came(40)
    assert log.positions.deleted() == DELETED
    log.came(41)
    assert log.positions.deleted() == []


def test_they_count_even_if_the_committed_offset_is_known_later_than_the_first_records(log: Log) -> None:
    log.start = 40
    log.came(40)
    log.came(41)
    log.start = 50  # what is deleted now was read
    log.positions.begin({P: 10})
    assert log.positions.deleted() == DELETED


def test_records_deleted_while_the_partition_is_held_count(log: Log) -> None:
    log.came(9)
    log.start = 40
    log.came(43)  # 40 to 42 belong to a transaction
    assert log.positions.deleted() == DELETED


def test_a_partition_whose_last_record_was_deleted_counts_at_its_end(log: Log) -> None:
    log.positions.begin({P: 10})
    log.start = 40
    log.positions.ended(P, 40)
    log.positions.ended(P, 40)
    log.came(40)
    assert log.positions.deleted() == DELETED


def test_gaps_within_the_log_are_no_deletion(log: Log) -> None:
    """Compaction and transactions leave gaps."""
    log.start = 5
    log.positions.begin({P: 10})
    for offset in (12, 20):
        log.came(offset)
    log.start = 15
    log.came(30)
    assert log.positions.deleted() == []


def test_what_was_deleted_after_it_was_read_is_no_loss(log: Log) -> None:
    log.positions.begin({P: 10})
    log.came(10)
    log.start = 11
    log.came(11)
    log.came(3)  # the log was truncated
    assert log.positions.deleted() == []


def test_a_new_assignment_expects_nothing_of_an_old_one(log: Log) -> None:
    log.came(9)
    log.positions.forget([P])
    log.start = 40
    log.came(40)
    assert log.positions.deleted() == []


def test_what_is_deleted_of_a_paused_partition_counts_at_once_and_only_once(log: Log) -> None:
    log.came(9)
    log.positions.begin_later({P: 40})
    assert log.positions.deleted() == DELETED
    log.positions.begin_later({P: 40})
    log.start = 45  # more is deleted, and then the partition is read on
    log.came(47)
    assert log.positions.deleted() == [DeletedUnread(P, first=40, offsets=5)]


def test_a_log_that_begins_before_the_next_record_has_lost_nothing_unread(log: Log) -> None:
    log.positions.begin_later({P: 5})  # nothing was read or committed: nobody knows what was expected
    log.came(9)
    log.positions.begin_later({P: 10})
    log.positions.begin_later({P: 3})
    assert log.positions.deleted() == []


def test_records_of_one_poll_are_compared_as_those_of_several(log: Log) -> None:
    """Partitions in turn, gaps within and between them, and the end of a log that was reached before."""
    log.positions.begin({P: 10, Q: 5})
    log.positions.ended(P, 10)
    log.start = 40
    offsets = [(P, 40), (P, 41), (Q, 40), (Q, 41), (P, 42), (P, 47), (Q, 42)]
    log.positions.came([Record(partition, offset, 0, None, None) for partition, offset in offsets])
    assert log.positions.passed == {}
    assert log.positions.deleted() == [*DELETED, DeletedUnread(Q, first=5, offsets=35)]
    log.start = 55
    log.positions.came([Record(P, offset, 0, None, None) for offset in (48, 60)])
    assert log.positions.deleted() == [DeletedUnread(P, first=49, offsets=6)]
    log.start = 70
    log.positions.came([Record(P, 70, 0, None, None), Record(Q, 70, 0, None, None)])
    assert log.positions.deleted() == [DeletedUnread(P, first=61, offsets=9), DeletedUnread(Q, first=43, offsets=27)]

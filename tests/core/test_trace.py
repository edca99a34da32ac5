"""Trace contexts of records, and what the engine tells of a traced call."""

from __future__ import annotations

import pytest

from tests.core.drive import OK, P0, REFUSED, STARTED, Driver, encode
from worker.core.facts import CallEnded
from worker.core.model import Headers, Record, Source
from worker.core.trace import TraceLink, link_of

SOURCE = Source(P0, 7, 0)
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def parent(number: int) -> bytes:
    return b"00-%032x-%016x-01" % (number, number)


def trace_of(driver: Driver) -> tuple[TraceLink, ...]:
    ended = driver.told(CallEnded)[-1]
    assert ended.trace is not None
    return ended.trace.links


def feed(driver: Driver, offset: int, attributes: dict[str, object], headers: Headers) -> None:
    record = Record(P0, offset, STARTED.wall_ms, b"key", encode(1, attributes), headers)
    driver.engine.receive([record], driver.now)


def test_a_traceparent_becomes_a_link_with_the_records_position() -> None:
    found = link_of((("tracestate", b"a=b"), ("traceparent", PARENT)), SOURCE)
    assert found == TraceLink(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, 1, P0, 7)


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    assert link_of((("traceparent", b"cc" + PARENT[2:] + b"-what-comes"),), SOURCE) is not None


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        PARENT[:-1],
        PARENT + b"-more",
        PARENT.upper(),
        b"ff" + PARENT[2:],
        b"00-%032x-%016x-01" % (0, 1),
        b"00-%032x-%016x-01" % (1, 0),
        PARENT + b"\n",
        b"00-0af7651916cd43dd8448eb211c80319c-me@example.com-01",
    ],
)
def test_anything_else_is_no_link(value: bytes | None) -> None:
    assert link_of((("traceparent", value),), SOURCE) is None


def test_a_traced_call_links_to_the_records_of_its_values_each_once() -> None:
    driver = Driver(trace_links_max=32)
    feed(driver, 0, {"a": 1, "b": 1}, (("traceparent", parent(1)),))
    feed(driver, 1, {"a": 2}, (("traceparent", parent(2)),))
    feed(driver, 2, {"c": 1, "d": 1}, (("traceparent", parent(3)),))
    feed(driver, 3, {"e": 1}, ())
    driver.advance(0.25)
    driver.reply(driver.call(), OK)
    ended = driver.told(CallEnded)[-1].trace
    assert ended is not None
    assert (ended.ended_ms, ended.attributes, ended.changes, ended.attempt) == (driver.now.wall_ms, 5, 4, 1)
    assert [(link.span_id, link.offset) for link in ended.links] == [(2, 1), (1, 0), (3, 2)]


def test_a_superseded_value_is_not_sent_and_so_not_linked() -> None:
    driver = Driver(trace_links_max=32)
    feed(driver, 0, {"a": 1}, (("traceparent", parent(1)),))
    feed(driver, 1, {"a": 2}, (("traceparent", parent(2)),))
    driver.reply(driver.call(), OK)
    assert [link.span_id for link in trace_of(driver)] == [2]


def test_links_are_bounded() -> None:
    driver = Driver(trace_links_max=32)
    for number in range(100):
        feed(driver, number, {f"a{number}": 1}, (("traceparent", parent(number + 1)),))
    driver.reply(driver.call(), OK)
    assert len(trace_of(driver)) == 32


def test_a_call_that_is_repeated_says_the_how_manyth_it_is() -> None:
    driver = Driver(trace_links_max=32)
    driver.change(1, {"a": 1, "b": 2})
    driver.reply(driver.call(), REFUSED)
    driver.reply(driver.call(), OK)
    attempts = [ended.trace.attempt for ended in driver.told(CallEnded) if ended.trace is not None]
    assert attempts == [1, 2]


def test_without_tracing_nothing_is_read_of_the_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()

    def read(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("worker.core.waiting.entry.link_of", read)
    feed(driver, 0, {"a": 1}, (("traceparent", parent(1)),))
    driver.reply(driver.call(), OK)
    assert driver.told(CallEnded)[-1].trace is None


def test_a_call_whose_partition_went_away_meanwhile_is_told_without_links() -> None:
    driver = Driver(trace_links_max=32)
    feed(driver, 0, {"a": 1}, (("traceparent", parent(1)),))
    call = driver.call()
    driver.engine.dropped([P0])
    driver.reply(call, OK)
    assert trace_of(driver) == ()

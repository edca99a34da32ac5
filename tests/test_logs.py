"""Log lines: what they contain, what they never contain, and how long they may be."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from worker.logs import LINE_MAX, TEXT_MAX, LogLimiter

PREAMBLE = """
import logging, sys, warnings
import structlog
from worker import logs
log = structlog.get_logger()
"""


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs code in its own process, because logging is set up for a whole process."""
    program = PREAMBLE + textwrap.dedent(code)
    environment = os.environ | environ
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment, timeout=60
    )


def lines(code: str) -> list[dict[str, Any]]:
    done = run(f"logs.configure('info', 'json', 'pod-1')\n{textwrap.dedent(code)}")
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_is_json_with_time_level_and_instance() -> None:
    [line] = lines("log.info('joined', partitions=3); log.debug('hidden')")
    assert line["timestamp"].endswith("Z")
    assert {key: line[key] for key in ("level", "event", "instance", "partitions")} == {
        "level": "info",
        "event": "joined",
        "instance": "pod-1",
        "partitions": 3,
    }


def test_auto_means_json_if_stderr_is_not_a_terminal_and_console_then_has_no_colours() -> None:
    assert json.loads(run("logs.configure('info', 'auto', 'a'); log.info('x')").stderr)["event"] == "x"
    text = run("logs.configure('info', 'console', 'a'); log.info('x', n=1)").stderr
    assert "x" in text
    assert "\x1b" not in text


def test_lines_of_libraries_and_warnings_are_logged_but_lines_about_requests_are_not() -> None:
    first, second = lines("""
        logging.getLogger('httpx').info('HTTP Request: GET https://example.com/?phone=1')
        logging.getLogger('other').warning('careful')
        warnings.warn('old', stacklevel=1)
    """)
    assert (first["event"], first["logger"], first["level"]) == ("careful", "other", "warning")
    assert "old" in second["event"]


def test_a_collector_that_is_away_is_a_line_a_minute() -> None:
    found = lines("""
        for attempt in range(5):
            logging.getLogger('opentelemetry.exporter.otlp').warning('attempt %s failed', attempt)
            logging.getLogger('other').warning('attempt %s failed', attempt)
    """)
    assert [line["logger"] for line in found].count("opentelemetry.exporter.otlp") == 1
    assert len(found) == 6


def test_what_the_collectors_address_and_headers_hold_is_masked_in_lines_of_the_exporter() -> None:
    done = run(
        """
        logs.configure('info', 'json', 'a')
        for name, text in {
            'format': 'Header format invalid! %s',
            'value': 'Invalid header value: %r',
            'url': 'Max retries exceeded with url: /v1/traces?%s (Caused by nobody)',
            'host': 'Invalid URL %s: no host',
        }.items():
            given = {'format': 'api-key: s3cret one', 'value': 'Bearer s3cret/two', 'url': 'key=s3cret', 'host':
                     'http://me:s3cret@host/v1'}[name]
            logging.getLogger(f'opentelemetry.{name}').warning(text, given)
        """,
        OTEL_EXPORTER_OTLP_HEADERS="api-key: s3cret one,x=1",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="authorization=Bearer%20s3cret%2Ftwo",
    )
    assert "s3cret" not in done.stderr
    assert len(done.stderr.splitlines()) == 4
    assert "(Caused by nobody)" in done.stderr
    assert "@host/v1: no host" in done.stderr


def test_a_line_has_the_ids_of_the_current_span_if_that_is_sampled() -> None:
    found = lines("""
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
        for flags in (0, 1):
            with use_span(NonRecordingSpan(SpanContext(0xabc, 0xdef, is_remote=False, trace_flags=TraceFlags(flags)))):
                log.info('halted')
        log.info('later')
    """)
    ids = [(line.get("trace_id"), line.get("span_id")) for line in found]
    assert ids == [(None, None), (f"{0xABC:032x}", f"{0xDEF:016x}"), (None, None)]


def test_private_fields_and_private_text_are_masked_at_any_depth() -> None:
    done = run("""
        logs.configure('info', 'json', 'a')
        log.info('Bearer s3cret for me@example.com', token='s3cret', phone=15551234567, authorization='s3cret',
                 call={'user': {'email': 'x@y.zz'}}, items=[{'value': 's3cret'}], detail='+15551234567 asked',
                 raw=b's3cret', thing=object())
        logging.getLogger('lib').error('failed for %s', 'me@example.com')
    """)
    for private in ("s3cret", "me@example.com", "5551234567", "x@y.zz"):
        assert private not in done.stderr
    assert len(done.stderr.splitlines()) == 2


PRIVATE = (
    "two of them, me@example.com+you@example.org, asked",
    "me@example.com%you@example.org",
    "m\xe9@example.com.",
    "Bearer s3cret\xe9me@example.com",
    "Bearer s3cret,+15551234567",
    "me@x.y+15551234567",
    "a+15551234567%me@x.y",
)


@pytest.fixture(scope="module")
def logged_private() -> dict[str, str]:
    """What becomes of each text, from one process for all."""
    found = lines(f"for text in {PRIVATE!r}: log.info(text)")
    return dict(zip(PRIVATE, (line["event"] for line in found), strict=True))


@pytest.mark.parametrize("text", PRIVATE)
def test_private_text_is_masked_though_other_private_text_stands_beside_it(
    logged_private: dict[str, str], text: str
) -> None:
    event = logged_private[text]
    assert not re.search(r"s3cret|@|5551234567|example", event), event


def test_the_search_for_private_text_takes_no_longer_where_a_long_text_nearly_matches() -> None:
    """Compared with a plain text of that length, in the process's own CPU time, and the best of several tries."""
    [line] = lines("""
        import time
        def seconds(piece):
            text, tries = (piece * 20_000)[:20_000], []
            for _ in range(5):
                began = time.process_time()
                logs._clean_text(text)
                tries.append(time.process_time() - began)
            return min(tries)
        logs.TEXT_MAX = 10_000
        plain = seconds('plain text, ')
        pieces = ['a', 'a.', '+1', 'a@', '@a', 'a@a.', 'bearer', 'bearer ', ' ']
        log.info('took', slow=[piece for piece in pieces if seconds(piece) > 30 * plain])
    """)
    assert line["slow"] == []


def test_an_exception_is_logged_without_its_message_which_may_hold_a_value() -> None:
    [line] = lines("""
        try:
            try:
                int('s3cret')
            except ValueError as error:
                raise KeyError('s3cret') from error
        except KeyError:
            log.exception('could not decode')
    """)
    assert "s3cret" not in json.dumps(line)
    assert line["exception"].startswith("KeyError\n")
    assert "while handling ValueError" in line["exception"]


def test_messages_of_our_own_errors_of_kafka_errors_and_of_system_errors_are_kept() -> None:
    kafka, first, second = lines("""
        from confluent_kafka import KafkaError, KafkaException
        from worker.settings.load import ConfigurationError
        log.error('k', error=KafkaException(KafkaError(KafkaError._TRANSPORT, 'broker 1 is down')))
        log.error('a', error=ConfigurationError(['mend this']))
        try:
            open('/none/of/this')
        except OSError:
            log.exception('b')
    """)
    assert kafka["error"].startswith("KafkaException: ")
    assert "broker 1 is down" in kafka["error"]
    assert first["error"] == "ConfigurationError: mend this"
    assert second["exception"].startswith("FileNotFoundError: No such file or directory")


def test_an_uncaught_exception_is_logged_without_its_message() -> None:
    done = run("logs.configure('info', 'json', 'a')\nraise RuntimeError('s3cret')")
    assert done.returncode == 1
    assert "s3cret" not in done.stderr
    assert json.loads(done.stderr)["exception"].startswith("RuntimeError")


def test_a_line_has_a_bounded_length_and_is_still_json() -> None:
    long, wide, deep = lines("""
        log.info('x' * 1_000_000)
        log.info('wide', **{f'k{i}': 'y' * 10_000 for i in range(100)})
        nested = {}
        nested['self'] = nested
        log.info('deep', nested=nested, number=float('nan'))
    """)
    assert len(long["event"]) == TEXT_MAX
    assert wide["event"] == "wide"
    assert wide["cut_from_characters"] > LINE_MAX
    assert deep["number"] == "nan"


def test_one_line_of_a_kind_passes_per_period() -> None:
    limiter = LogLimiter(60.0)
    assert [limiter.allows(kind, now) for kind, now in (("a", 0.0), ("a", 59.9), ("b", 59.9), ("a", 60.0))] == [
        True,
        False,
        True,
        True,
    ]


def test_very_many_kinds_of_line_do_not_fill_the_memory() -> None:
    """A kind may contain a number that changes. Nothing public shows what is remembered, so the test looks inside."""
    limiter = LogLimiter(60.0)
    assert all(limiter.allows(f"waited {second} s", float(second)) for second in range(10_000))
    assert len(limiter._logged_at) <= 61

from __future__ import annotations

import gc
import logging
import time
import traceback
from pathlib import Path

import h11
import pytest

from tests.attentive.calling import (
    PATIENCE_SECONDS,
    PHONE,
    TOKEN,
    call,
    drained,
    made,
    outcome,
    running,
    until_received,
)
from tests.attentive.scripted import (
    OK,
    Connection,
    Script,
    answering,
    closes_early,
    is_not_http,
    never_answers,
    resets,
    serving,
)
from worker.attentive.dialing import Opening
from worker.attentive.senders import SendersStoppedError
from worker.attentive.token import Token
from worker.clocks import boot_clock
from worker.core.model import Call, Failure, Reply


def test_concurrency_is_the_bound_of_connections_and_of_calls_in_hand() -> None:
    with serving(answering(OK)) as server, running(server.base_url, concurrency=3) as senders:
        sent = 0
        replies: list[tuple[Call, Reply]] = []
        while len(replies) < 60:
            while senders.free and sent < 60:
                senders.submit(call(sent, timeout_seconds=5))
                sent += 1
            replies += senders.replies(PATIENCE_SECONDS)
        assert sorted(finished.number for finished, _ in replies) == list(range(60))
        assert len(server.connections) <= 3
        assert senders.free == 3


def test_submit_past_the_bound_raises() -> None:
    with serving(never_answers) as server, running(server.base_url, concurrency=1) as senders:
        senders.submit(call())
        assert senders.free == 0
        with pytest.raises(RuntimeError, match="in use"):
            senders.submit(call())


def test_deadline_counts_from_submit_for_every_call() -> None:
    with serving(never_answers) as server, running(server.base_url, concurrency=3) as senders:
        calls = [call(1, 0.0), call(2, 0.15), call(3, 0.3)]
        for each in calls:
            senders.submit(each)
        replies = drained(senders, 3)
    assert [finished.number for finished, _ in replies] == [1, 2, 3]
    assert all(reply.failure is Failure.TIMEOUT for _, reply in replies)


def test_call_past_its_deadline_is_not_sent_on_a_warm_connection() -> None:
    with serving(answering(OK)) as server, running(server.base_url, concurrency=1) as senders:
        assert outcome(senders, call()).status == 200
        assert outcome(senders, call(2, timeout_seconds=0.0)).failure is Failure.TIMEOUT
        assert len(server.requests) == 1


def test_aborted_calls_come_back_and_the_others_go_on() -> None:
    def script(connection: Connection) -> None:
        if connection.receive() is not None:
            connection.stopping.wait(0.3)
            connection.send(OK)

    with serving(script) as server, running(server.base_url, concurrency=3) as senders:
        calls = [call(number, timeout_seconds=5) for number in range(3)]
        senders.submit(calls[0])
        senders.submit(calls[1])
        until_received(senders, server, 2)
        senders.submit(calls[2])  # and cut short before the loop can have begun it
        senders.abort(calls[1:])
        replies = {finished.number: reply for finished, reply in drained(senders, 3)}
    assert replies[0].status == 200
    assert replies[1].failure is replies[2].failure is Failure.ABORTED


def test_calls_go_on_while_the_senders_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(OK)) as server, running(server.base_url, concurrency=2) as senders:
        with monkeypatch.context() as patched:
            patched.setattr(senders, "_turn", lambda: None)  # what goes on, goes on while it rests
            ended: list[int] = []
            for number in (1, 2):
                senders.submit(call(number))
            begun = time.monotonic()
            while len(ended) < 2 and time.monotonic() < begun + PATIENCE_SECONDS:
                senders.rest(0.01)
                ended += [finished.number for finished, _ in senders.replies()]
        assert sorted(ended) == [1, 2]


def test_a_call_that_is_not_written_in_time_is_not_written_at_all() -> None:
    """A process that slept before it: what the call says may be old by now."""
    late = call(1, timeout_seconds=5)
    with serving(answering(OK)) as server:
        senders = made(server.base_url, concurrency=1, write_by=lambda: boot_clock() - 0.001)
        assert outcome(senders, late).failure is Failure.ABORTED
        senders.close()
        assert not server.requests


def test_close_hands_back_what_was_in_flight_and_leaves_nothing_behind() -> None:
    """Warnings are errors: a task or a transport left open would fail the test when it is collected."""
    with serving(never_answers) as server:
        senders = made(server.base_url, concurrency=2)
        calls = [call(number, timeout_seconds=30) for number in range(2)]
        for each in calls:
            senders.submit(each)
        until_received(senders, server, 2)
        started = time.monotonic()
        senders.close()
        assert time.monotonic() - started < 1
        assert {finished: reply.failure for finished, reply in senders.replies()} == dict.fromkeys(
            calls, Failure.ABORTED
        )
        senders.close()
        del senders
        gc.collect()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "socks5://u:secret@proxy.test:1"),
        ("ALL_PROXY", "secret://proxy.test"),
        ("HTTPS_PROXY", "http://u:secret@proxy.test:secret"),
        ("HTTPS_PROXY", "http://u:secret/secret#@proxy.test:80"),
    ],
)
def test_unusable_proxy_is_a_clear_error_without_its_password(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=name) as caught:
        made("https://api.attentive.test")
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_authorities_that_cannot_be_read_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "authorities"
    monkeypatch.setenv(name, str(path))
    with pytest.raises(ValueError, match=f"{name} names {path}, .* No such file or directory"):
        made("https://api.attentive.test")
    path.write_text("no certificate")
    with pytest.raises(ValueError, match=f"{name} names {path}, .* (holds no certificate|Not a directory)"):
        made("https://api.attentive.test")
    made("http://127.0.0.1:1").close()  # where no certificate is looked at


def test_submit_after_close_raises() -> None:
    with running("http://127.0.0.1:1") as senders:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        senders.submit(call())


def test_close_before_start() -> None:
    made("http://127.0.0.1:1").close()


def test_token_that_is_missing_and_then_appears(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with serving(answering(OK)) as server, running(server.base_url, Token.from_file(path)) as senders:
        assert outcome(senders, call()).failure is Failure.NO_TOKEN
        path.write_text("fresh\n")
        assert outcome(senders, call()).status == 200
    assert [received.headers["authorization"] for received in server.requests] == ["Bearer fresh"]


def test_bug_in_a_task_reaches_the_caller_without_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connection(_self: Opening) -> None:
        raise LookupError(f"{TOKEN} {PHONE}")

    monkeypatch.setattr(Opening, "connection", connection)
    with running("http://127.0.0.1:1") as senders:
        senders.submit(call())
        with pytest.raises(SendersStoppedError, match="LookupError") as caught:
            senders.replies(PATIENCE_SECONDS)
        shown = "".join(traceback.format_exception(caught.value)) + repr(senders)
        assert TOKEN not in shown
        assert PHONE not in shown
        with pytest.raises(SendersStoppedError):
            senders.replies(PATIENCE_SECONDS)
        with pytest.raises(SendersStoppedError):
            senders.submit(call())
        senders.abort([call()])


def test_bug_in_a_callback_reaches_the_caller_without_what_was_received(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def receive_data(_self: h11.Connection, data: bytes) -> None:
        raise LookupError(repr(data))

    monkeypatch.setattr(h11.Connection, "receive_data", receive_data)
    with serving(answering(b"HTTP/1.1 200 secret")) as server, running(server.base_url) as senders:
        senders.submit(call())
        with pytest.raises(SendersStoppedError, match="LookupError") as caught:
            senders.replies(PATIENCE_SECONDS)
    assert "secret" not in "".join(traceback.format_exception(caught.value)) + caplog.text


@pytest.mark.parametrize("script", [answering(OK), never_answers, resets, is_not_http, closes_early])
def test_nothing_that_is_logged_or_shown_holds_a_secret(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(script) as server, running(server.base_url) as senders:
        senders.submit(call())
        shown = repr(senders) + repr(vars(senders))
        shown += repr(drained(senders, 1))
    shown += caplog.text
    assert TOKEN not in shown
    assert PHONE not in shown
    assert "gold" not in shown

"""The health server, over real HTTP."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from worker.core.totals import Totals
from worker.ops.answers import Answers
from worker.ops.board import Board
from worker.ops.server import ANY, AddressUnavailableError, OpsServer
from worker.ops.status import DeadLetter, Halt, LastError, PartitionStatus, Problem, State, Status

STARTING = Status.starting(version="1.2.3", instance="worker-0", group_id="attribute-worker", rate_limit=150.0)
RUNNING = replace(STARTING, state=State.RUNNING, joined=True)
SINCE = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
HALTED = replace(
    RUNNING,
    state=State.HALTED,
    halt=Halt("unauthorized", SINCE, "401 from the destination"),
)


class Client:
    """A client of one server; it opens a connection for each request."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, str]:
        return self.reply(path, method, body, **headers)[:2]

    def reply(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, str, http.client.HTTPMessage]:
        with closing(http.client.HTTPConnection(*self.address, timeout=10)) as connection:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode(), response.headers


def read_all(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@contextmanager
def serving(
    board: Board, host: str = "127.0.0.1", stalled_after_seconds: float = 60.0, **limits: float
) -> Iterator[Client]:
    answers = Answers(board, CollectorRegistry(), stalled_after_seconds=stalled_after_seconds)
    server = OpsServer(host, 0, answers=answers, **limits)  # type: ignore[arg-type]  # connections_max is whole
    try:
        yield Client(*server.start())
    finally:
        server.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Board, Client]]:
    """One server for all tests that only send requests: closing a server takes up to a fifth of a second."""
    board = Board(STARTING)
    with serving(board) as client:
        yield board, client


@pytest.fixture
def board(shared: tuple[Board, Client]) -> Board:
    shared[0].publish(STARTING)
    return shared[0]


@pytest.fixture
def client(shared: tuple[Board, Client], board: Board) -> Client:
    assert board.status is STARTING
    return shared[1]


def readyz(client: Client) -> tuple[int, str | None, str | None]:
    status, body = client.ask("/readyz")
    document = json.loads(body)
    assert document["ready"] == (status == 200)
    return status, document["reason"], document["detail"]


def test_livez_answers_200_while_the_main_loop_turns_and_503_once_it_stalls() -> None:
    board = Board(RUNNING)
    with serving(board, stalled_after_seconds=0.05) as client:
        until(lambda: client.ask("/livez")[0] == 503)
        assert "has not turned for" in client.ask("/livez")[1]
        assert readyz(client)[:2] == (503, "stalled")
        assert "Stalled: the main loop stands still" in client.ask("/")[1]
    with serving(board) as client:
        board.turn()
        assert client.ask("/livez") == (200, "ok\n")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (STARTING, (503, "starting", None)),
        (replace(STARTING, problem="no broker answers"), (503, "starting", "no broker answers")),
        (RUNNING, (200, None, None)),
        (replace(RUNNING, state=State.THROTTLED), (200, None, None)),
        (replace(RUNNING, problem="the registry is down"), (200, None, "the registry is down")),
        (replace(RUNNING, joined=False), (503, "not_joined", None)),
        (replace(RUNNING, state=State.DRAINING), (503, "draining", None)),
        (HALTED, (503, "unauthorized", "401 from the destination")),
    ],
)
def test_ready_only_if_joined_to_the_group_and_the_destination_is_not_halted(
    client: Client, board: Board, status: Status, expected: tuple[int, str | None, str | None]
) -> None:
    board.publish(status)
    assert readyz(client) == expected


def test_readyz_says_since_when(client: Client, board: Board) -> None:
    board.publish(HALTED)
    assert json.loads(client.ask("/readyz")[1])["since"] == "2026-05-04T03:02:01Z"


def test_status_has_every_promised_key(client: Client, board: Board) -> None:
    partitions = (PartitionStatus("profile-changes", 3, 90, 80, 100, paused=True, oldest_undelivered_seconds=1.5),)
    totals = Totals(records=9, calls=2, dead_letters=Counter({"rejected": 1}), replies=Counter({"200": 2}))
    probe_at = SINCE + timedelta(minutes=1)
    halt = Halt("unauthorized", SINCE, "401 from the destination", "mend the token", probe_at)
    board.publish(
        replace(
            HALTED,
            halt=halt,
            last_error=LastError(SINCE, "status 401"),
            problem="no broker",
            problems=(Problem.KAFKA,),
            destination="https://api.example.com",
            halted_seconds={"unauthorized": 1.5},
            partitions=partitions,
            totals=totals,
            open_entries=4,
            in_flight=1,
            held_bytes=77,
            calls_ended={"delivered": 2},
            latest_dead_letters=(DeadLetter(SINCE, "rejected", "profile-changes", 3, 81, ("tier",)),),
            settings={"window.seconds": 5.0},
        )
    )
    code, body, headers = client.reply("/status")
    document = json.loads(body)
    assert (code, headers["Content-Type"]) == (200, "application/json")
    assert document["state"] == "halted"
    assert document["halt"] == {
        "reason": "unauthorized",
        "since": "2026-05-04T03:02:01Z",
        "detail": "401 from the destination; mend the token",
        "met": "401 from the destination",
        "mend": "mend the token",
        "next_probe": "2026-05-04T03:03:01Z",
    }
    assert document["last_error"] == {"at": "2026-05-04T03:02:01Z", "detail": "status 401"}
    assert (document["problem"], document["problems"], document["destination"]) == (
        "no broker",
        ["kafka"],
        "https://api.example.com",
    )
    assert document["halted_seconds"] == {"unauthorized": 1.5}
    assert (document["version"], document["instance"], document["group_id"]) == (
        "1.2.3",
        "worker-0",
        "attribute-worker",
    )
    assert {"limit", "share"} <= document["rate"].keys()
    assert (document["open_entries"], document["in_flight"], document["held_bytes"]) == (4, 1, 77)
    assert document["partitions"] == [
        {
            "topic": "profile-changes",
            "partition": 3,
            "position": 90,
            "committed": 80,
            "end": 100,
            "paused": True,
            "oldest_undelivered_seconds": 1.5,
            "lag": 20,
        }
    ]
    promised = {"records", "changes", "calls", "calls_saved", "delivered_entries", "retries", "ignored"}
    assert promised <= document["totals"].keys()
    assert document["totals"]["dead_letters"] == {"rejected": 1}
    assert document["latest_dead_letters"] == [
        {
            "at": "2026-05-04T03:02:01Z",
            "reason": "rejected",
            "topic": "profile-changes",
            "partition": 3,
            "offset": 81,
            "attributes": ["tier"],
        }
    ]
    assert (document["calls_ended"], document["settings"]) == ({"delivered": 2}, {"window.seconds": 5.0})
    assert document["last_minute"].keys() == {"seconds", "records", "calls"}


def test_without_a_halt_the_status_says_null(client: Client) -> None:
    assert json.loads(client.ask("/status")[1])["halt"] is None


@pytest.mark.parametrize("path", ["/", "/livez", "/status", "/metrics", "/nowhere"])
def test_head_has_the_status_and_headers_of_get_and_no_body(client: Client, path: str) -> None:
    code, _, headers = client.reply(path)
    head_code, body, head_headers = client.reply(path, "HEAD")
    assert (head_code, body, head_headers["Content-Type"]) == (code, "", headers["Content-Type"])
    assert int(head_headers["Content-Length"]) > 0 or path == "/metrics"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    code, _, headers = client.reply("/livez", method, body=b"x" * 40_000 if method == "POST" else None)
    assert (code, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/nowhere", "/livez/", "/livez/../status", "/%2e"])
def test_an_unknown_path_lists_the_known_ones(client: Client, path: str) -> None:
    code, body = client.ask(path)
    assert code == 404
    for known in ("/livez", "/readyz", "/metrics", "/status"):
        assert known in body
    assert "nowhere" not in body


def test_every_answer_forbids_scripts_content_sniffing_and_caching(client: Client) -> None:
    for path in ("/", "/status", "/nowhere"):
        headers = client.reply(path)[2]
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"nonsense secret\x00\xff\r\n\r\n", b"400"),
        (b"GET /livez HTTP/nine\r\n\r\n", b"400"),
        (b"GET /livez HTTP/2.0\r\n\r\n", b"505"),
        (b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"GET /livez HTTP/1.1\r\nsecret: " + b"a" * 30_000 + b"\r\n\r\n", b"431"),
        (b"GET /livez HTTP/1.1\r\n" + b"secret: a\r\n" * 200 + b"\r\n", b"431"),
    ],
)
def test_a_malformed_or_oversized_request_is_refused_and_neither_echoed_nor_logged(
    client: Client, capfd: pytest.CaptureFixture[str], request_bytes: bytes, code: bytes
) -> None:
    with socket.create_connection(client.address, timeout=10) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert answer.split(b" ")[1] == code
    assert b"secret" not in answer
    assert "secret" not in "".join(capfd.readouterr())


def test_the_server_writes_nothing_to_stdout_or_stderr(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    client.ask("/livez?token=secret")
    with socket.create_connection(client.address) as connection:
        connection.sendall(b"GET /livez")
    client.ask("/livez")
    assert capfd.readouterr() == ("", "")


class Broken(CollectorRegistry):
    """A metrics registry whose collection raises an error with data in its message."""

    def collect(self) -> Iterator[object]:  # type: ignore[override]  # it yields nothing
        raise RuntimeError("secret")


def test_an_internal_error_is_answered_500_without_its_message(capfd: pytest.CaptureFixture[str]) -> None:
    server = OpsServer("127.0.0.1", 0, answers=Answers(Board(RUNNING), Broken()))
    client = Client(*server.start())
    try:
        assert client.ask("/metrics") == (500, "Internal error.\n")
        assert client.ask("/livez")[0] == 200
    finally:
        server.close()
    assert "secret" not in "".join(capfd.readouterr())


def test_idle_connections_do_not_keep_a_health_probe_out() -> None:
    """At the limit on open connections, the server closes the oldest one."""
    with serving(Board(RUNNING), connections_max=4) as client:
        held = [socket.create_connection(client.address, timeout=10) for _ in range(12)]
        try:
            for connection in held:
                connection.sendall(b"GET /livez HTTP/1.1\r\nslow: ")
            started = time.monotonic()
            assert client.ask("/livez")[0] == 200
            assert time.monotonic() - started < 3
            assert held[0].recv(1) == b""
        finally:
            for connection in held:
                connection.close()


def test_a_client_that_sends_slowly_is_disconnected_at_a_deadline() -> None:
    with ExitStack() as stack:
        client = stack.enter_context(serving(Board(RUNNING), connection_seconds=0.4))
        started = time.monotonic()
        connection = stack.enter_context(socket.create_connection(client.address, timeout=0.05))
        connection.sendall(b"GET /livez HTTP/1.1\r\nslow: ")
        assert hung_up_on(connection, deadline=started + 5)
        assert time.monotonic() - started >= 0.4


def hung_up_on(connection: socket.socket, *, deadline: float) -> bool:
    """Sends a byte whenever nothing comes back for the socket's time-out; true once the server has closed."""
    while time.monotonic() < deadline:
        try:
            connection.sendall(b"a")
            return connection.recv(1) == b""
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def test_the_error_about_a_taken_port_names_the_setting() -> None:
    with serving(Board(RUNNING)) as client:
        port = client.address[1]
        second = OpsServer("127.0.0.1", port, answers=Answers(Board(RUNNING), CollectorRegistry()))
        with pytest.raises(AddressUnavailableError, match=rf"127\.0\.0\.1:{port}: .*WORKER_HTTP__PORT"):
            second.start()
        second.close()


def test_the_error_about_an_unknown_host_names_the_setting() -> None:
    server = OpsServer("192.0.2.1", 0, answers=Answers(Board(RUNNING), CollectorRegistry()))
    with pytest.raises(AddressUnavailableError, match=r"192\.0\.2\.1:0: .*WORKER_HTTP__HOST"):
        server.start()


def test_a_closed_server_frees_its_port_leaves_no_thread_and_can_be_closed_again() -> None:
    threads = threading.active_count()
    server = OpsServer("127.0.0.1", 0, answers=Answers(Board(RUNNING), CollectorRegistry()))
    address = server.start()
    with socket.create_connection(address, timeout=0.05) as connection:
        server.close()
        server.close()
        assert threading.active_count() == threads
        assert hung_up_on(connection, deadline=time.monotonic() + 5)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=10)


def ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not ipv6_loopback(), reason="this machine has no IPv6 loopback address")
def test_serves_on_an_ipv6_address() -> None:
    with serving(Board(RUNNING), host="::1") as client:
        assert client.address[0] == "::1"
        assert client.ask("/livez") == (200, "ok\n")


def _without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that has no IPv6: it makes no such socket."""
    made = socket.socket

    class Socket(made):  # type: ignore[misc, valid-type]  # a class in a variable
        def __init__(self, family: int = -1, *arguments: int, **named: Any) -> None:  # noqa: ANN401 - as in socket
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *arguments, **named)

    monkeypatch.setattr(socket, "socket", Socket)


def test_the_default_address_serves_both_kinds_of_address() -> None:
    with serving(Board(RUNNING), host=ANY) as client:
        port = client.address[1]
        for host in ["127.0.0.1"] + ["::1"] * ipv6_loopback():
            assert Client(host, port).ask("/livez") == (200, "ok\n")


def test_the_default_address_serves_ipv4_on_a_system_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_ipv6(monkeypatch)
    with serving(Board(RUNNING), host=ANY) as client:
        assert Client("127.0.0.1", client.address[1]).ask("/livez") == (200, "ok\n")


def test_the_port_at_the_default_address_is_not_shared_with_another_server() -> None:
    with serving(Board(RUNNING), host="127.0.0.1") as client, pytest.raises(AddressUnavailableError, match="PORT"):
        OpsServer(ANY, client.address[1], answers=Answers(Board(RUNNING), CollectorRegistry())).start()


def test_serves_on_a_host_name() -> None:
    with serving(Board(RUNNING), host="localhost") as client:
        assert client.ask("/livez") == (200, "ok\n")


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "did not happen within 10 s"

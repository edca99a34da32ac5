"""HTTPS_PROXY, ALL_PROXY and NO_PROXY as people write them, and the tunnels that follow from them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.attentive.calling import PATIENCE_SECONDS, TOKEN, call, outcome, running
from tests.attentive.certificates import Authority
from tests.attentive.scripted import OK, Connection, answering, serving
from tests.attentive.tunnels import tunnelling
from worker.attentive.proxies import Proxy, is_exempt, proxy_for
from worker.core.delivery.verdict import in_words
from worker.core.model import Failure


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "exempt"),
    [
        ("", "api.test", 443, False),
        ("*", "api.test", 443, True),
        ("api.test", "api.test", 443, True),
        ("API.Test", "api.TEST", 443, True),
        ("api.test.", "api.test", 443, True),
        ("api.test", "api.test.", 443, True),
        ("test", "api.test", 443, True),
        (".test", "api.test", 443, True),
        ("*.test", "api.test", 443, True),
        (".api.test", "api.test", 443, True),
        ("pi.test", "api.test", 443, False),
        ("api.test:443", "api.test", 443, True),
        ("api.test:8443", "api.test", 443, False),
        (".test:443", "api.test", 443, True),
        ("https://api.test", "api.test", 443, True),
        ("http://api.test:443/", "api.test", 443, True),
        ("localhost, ,,api.test", "api.test", 443, True),
        ("localhost api.test", "api.test", 443, True),
        ("localhost,fd07::/64", "api.test", 443, False),
        ("localhost,fd07::/64", "localhost", 443, True),
        ("localhost,fd07::/64", "fd07::5", 443, True),
        ("localhost,fd07::/64", "[fd07::5]", 443, True),
        ("localhost,fd07::/64", "fd08::5", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.1.2.3/8", "10.9.9.9", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.0.0.0/8", "api.test", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.3", 443, True),
        ("10.1.2.3:80", "10.1.2.3", 443, False),
        ("::1", "::1", 443, True),
        ("[::1]", "::1", 443, True),
        ("[::1]:443", "::1", 443, True),
        ("[::1]:80", "::1", 443, False),
        ("10.0.0.0/99,[,::g,:,//,.,*.,api.test:x,\x00,%", "api.test", 443, False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, port: int, exempt: bool) -> None:  # noqa: FBT001 - a row of the table
    assert is_exempt(host, port, no_proxy) is exempt


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTP_PROXY": "http://p.test"}, None),
        ({"HTTPS_PROXY": " "}, None),
        ({"HTTPS_PROXY": "http://p.test:3128"}, Proxy("p.test", 3128, is_tls=False)),
        ({"https_proxy": "http://p.test:3128/"}, Proxy("p.test", 3128, is_tls=False)),
        ({"ALL_PROXY": "p.test:3128"}, Proxy("p.test", 3128, is_tls=False)),
        ({"HTTPS_PROXY": "http://p.test"}, Proxy("p.test", 80, is_tls=False)),
        ({"HTTPS_PROXY": "HTTPS://p.test"}, Proxy("p.test", 443, is_tls=True)),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, Proxy("::1", 3128, is_tls=False)),
        ({"HTTPS_PROXY": "", "ALL_PROXY": "http://p.test:1"}, Proxy("p.test", 1, is_tls=False)),
        ({"https_proxy": "http://p.test:1", "HTTPS_PROXY": "http://p.test:2"}, Proxy("p.test", 1, is_tls=False)),
        ({"HTTPS_PROXY": "http://p.test:1", "NO_PROXY": "api.test"}, None),
        ({"HTTPS_PROXY": "http://p.test:1", "no_proxy": "api.test"}, None),
    ],
    ids=range(13),
)
def test_proxy_of_the_environment(environ: dict[str, str], proxy: Proxy | None) -> None:
    assert proxy_for("api.test", 443, environ) == proxy


def test_credentials_are_percent_encoded_and_shown_nowhere() -> None:
    proxy = proxy_for("api.test", 443, {"HTTPS_PROXY": "http://zo%C3%AB:p%40ss%3A@p.test:1"})
    assert proxy is not None
    assert proxy.authorization == f"Basic {base64.b64encode('zoë:p@ss:'.encode()).decode()}"
    assert str(proxy.authorization) not in repr(proxy)


@pytest.mark.parametrize("no_proxy", ["localhost,fd07::/64", "localhost,,%,10.0.0.0/99"])
def test_odd_no_proxy_starts(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        with running("https://api.attentive.test/v1") as senders:
            assert outcome(senders, call()).failure is Failure.CONNECT
        assert [received.line for received in proxy.requests] == ["CONNECT api.attentive.test:443 HTTP/1.1"]


def test_tunnel_is_opened_once_and_shows_the_proxy_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trust()))
    with (
        serving(authority.serves(answering(OK), ("api.attentive.test",))) as server,
        serving(tunnelling(server.port)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{proxy.port}")
        with running("https://api.attentive.test/v1", concurrency=1) as senders:
            assert [outcome(senders, call(number, PATIENCE_SECONDS)).status for number in range(3)] == [200] * 3
        [asked] = proxy.requests
        assert asked.line == "CONNECT api.attentive.test:443 HTTP/1.1"
        assert asked.headers == {
            "host": "api.attentive.test:443",
            "proxy-authorization": f"Basic {base64.b64encode(b'user:word').decode()}",
        }
        assert len(server.requests) == 3
        assert not any("proxy-authorization" in received.headers for received in server.requests)
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_tunnel_through_a_proxy_that_speaks_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trust()))
    with (
        serving(authority.serves(answering(OK), ("api.attentive.test",))) as server,
        serving(authority.serves(tunnelling(server.port))) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy.port}")
        with running("https://api.attentive.test/v1", concurrency=1) as senders:
            assert [outcome(senders, call(number, PATIENCE_SECONDS)).status for number in range(3)] == [200] * 3
        assert len(proxy.requests) == 1


def test_plain_http_goes_straight_to_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(OK)) as proxy, serving(answering(OK)) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        with running(server.base_url) as senders:
            assert outcome(senders, call()).status == 200
        assert not proxy.connections


@pytest.mark.parametrize(
    ("user", "answer", "words"),
    [
        ("", b"HTTP/1.1 407 Who\r\n\r\n", "asks for a user and a password (407)"),
        ("user:secret@", b"HTTP/1.1 407 Who\r\n\r\n", "refused the user or password (407)"),
        ("", b"HTTP/1.1 403 No\r\nContent-Length: 9999\r\n\r\n", "answered 403 to CONNECT"),
        ("", b"HTTP/1.1 302 Login\r\nLocation: http://login\r\n\r\n", "answered 302 to CONNECT"),
        ("", b"SSH-2.0\r\n\r\n", "gave no answer to CONNECT; is it an HTTP proxy?"),
    ],
)
def test_proxy_that_opens_no_tunnel(user: str, answer: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(answer)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{user}127.0.0.1:{proxy.port}")
        with running("https://api.attentive.test/v1") as senders:
            reply = outcome(senders, call())
        assert in_words(reply) == f"no connection: the proxy 127.0.0.1:{proxy.port} {words}"
        assert "authorization" not in proxy.requests[0].headers


def test_proxy_that_speaks_for_the_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes behind the tunnel's opening cannot be the destination's: it has not been asked."""
    with serving(answering(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with running("https://api.attentive.test/v1") as senders:
            assert outcome(senders, call()).failure is Failure.CONNECT


def test_proxy_that_is_not_there_or_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Connection.hold) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with running("https://api.attentive.test/v1") as senders:
            reply = outcome(senders, call())
        assert reply.failure is Failure.TIMEOUT
        assert reply.cause == f"still waiting for the tunnel of the proxy 127.0.0.1:{proxy.port}"
    with running("https://api.attentive.test/v1") as senders:
        reply = outcome(senders, call())
    assert reply.cause == f"the proxy 127.0.0.1:{proxy.port} refused the connection"


@pytest.mark.parametrize("proxy", ["socks5://proxy.test:1080", "http://", "http://proxy.test:99999"])
def test_proxy_that_cannot_be_used_is_no_matter_to_a_host_that_it_does_not_serve(proxy: str) -> None:
    assert proxy_for("api.test", 443, {"ALL_PROXY": proxy, "NO_PROXY": ".test"}) is None
    with pytest.raises(ValueError, match="ALL_PROXY"):
        proxy_for("api.example", 443, {"ALL_PROXY": proxy, "NO_PROXY": ".test"})

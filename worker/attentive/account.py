"""Whose token this is: `GET /me`, for `attribute-worker check`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from worker.attentive import request, wire
from worker.attentive.replies import printable
from worker.attentive.token import Token
from worker.core.model import Failure, Reply

NAME_CHARACTERS_MAX = 200

_MEND_URL = "check WORKER_ATTENTIVE__BASE_URL"
_MEND_PATH = f"{_MEND_URL}, and that this host may reach it (firewall, HTTPS_PROXY, NO_PROXY)"
_MEND_CERTIFICATE = "where a proxy of your own signs certificates, name its authority in SSL_CERT_FILE"

_FAILURES = {
    Failure.CONNECT: (
        "no connection: refused, unreachable, no such name, or TLS failed",
        f"{_MEND_PATH}; {_MEND_CERTIFICATE}",
    ),
    Failure.TIMEOUT: ("no answer in time", _MEND_PATH),
    Failure.BROKEN: ("the connection broke, or the answer was not HTTP", _MEND_PATH),
    Failure.ABORTED: ("interrupted", "try again"),
    Failure.NO_TOKEN: ("no token", "set WORKER_ATTENTIVE__TOKEN or WORKER_ATTENTIVE__TOKEN_FILE"),
}
_STATUSES = {
    401: "the token is wrong or was regenerated: put the app's current API key in its place",
    403: "the app lacks permissions: give it Custom Attributes (attributes:write) in Attentive",
    404: _MEND_URL,
    429: "the token's rate limit is used up, perhaps by another system: try again",
}


@dataclass(frozen=True, slots=True)
class Account:
    """What `GET /me` says. It lists no scopes: it cannot prove `attributes:write`."""

    application: str
    company: str
    domain: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer, and how to mend it; both for people, without the token."""

    what: str
    mend: str


def whoami(base_url: str, token: Token, timeout_seconds: float, *, user_agent: str) -> Account | Problem:
    """Asks the destination whose token this is; the request ends within `timeout_seconds`.

    Raises:
        ValueError: `base_url` is none, or a proxy or a certificate file in the environment cannot be used.
    """
    url = request.endpoint(base_url, request.ACCOUNT_PATH)
    value = token.value()
    if value is None:
        return Problem(token.problem or "no token", "put the token of the Attentive app there")
    message = request.get(url, value, user_agent)
    reply = _ask(message, timeout_seconds)
    return _account(reply) if reply.status == 200 else _problem(reply)  # noqa: PLR2004 - OK


def _ask(message: httpx.Request, timeout_seconds: float) -> Reply:
    async def ask() -> Reply:
        started = asyncio.get_running_loop().time()
        async with wire.new_client(message.url, wire.tls_context()) as client:
            reply, _ = await wire.exchange(
                client, message, started=started, deadline=started + timeout_seconds, may_send=lambda: True
            )
            return reply

    # Not `asyncio.run`: it would wait for a name resolution that hangs in a thread of its own.
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(ask())
    finally:
        loop.close()


def _account(reply: Reply) -> Account | Problem:
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        return Problem("GET /me answered 200 without a JSON object", f"is this Attentive's API? {_MEND_URL}")
    application, company, domain = (
        printable(text if isinstance(text := document.get(name), str) else "", NAME_CHARACTERS_MAX)
        for name in ("applicationName", "companyName", "attentiveDomainName")
    )
    return Account(application, company, domain)


def _problem(reply: Reply) -> Problem:
    if reply.failure is not None:
        return Problem(*_FAILURES[reply.failure])
    status = reply.status or 0
    what = f"GET /me answered {status}"
    if status in _STATUSES:
        return Problem(what, _STATUSES[status])
    if 300 <= status < 400:  # noqa: PLR2004 - the redirects
        return Problem(f"{what}, a redirect, which is never followed since it would carry the token", _MEND_URL)
    return Problem(what, "try again; Attentive's status page tells of outages")

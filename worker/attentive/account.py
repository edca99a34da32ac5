"""Asks whose token this is, by `GET /me`, for `attribute-worker check`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from worker.attentive import request
from worker.attentive.message import Answer, Message, Unanswered
from worker.attentive.replies import http_date, printable
from worker.attentive.token import Token
from worker.attentive.transport import Transport, endpoint
from worker.core.delivery.verdict import in_words
from worker.core.model import Failure, Reply

NAME_CHARACTERS_MAX = 200

_MEND_URL = "check WORKER_ATTENTIVE__BASE_URL"
_MEND_PATH = f"{_MEND_URL}, and that this host may reach it (firewall, HTTPS_PROXY, NO_PROXY)"
_MEND_CERTIFICATE = "where a proxy of your own signs certificates, name its authority in SSL_CERT_FILE"

_STATUSES = {
    401: "the token is wrong or was regenerated: put the app's current API key in its place",
    403: "the app lacks permissions: give it Custom Attributes (attributes:write) in Attentive",
    404: _MEND_URL,
    429: "the token's rate limit is used up, perhaps by another system: try again",
}


@dataclass(frozen=True, slots=True)
class Account:
    """What `GET /me` says. It lists no scopes: it cannot prove `attributes:write`.

    `clock_ahead_seconds` compares this machine's clock with the answer's Date: below 0 if behind, None without one.
    """

    application: str
    company: str
    company_id: str
    domain: str
    clock_ahead_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no account, and how to mend that. Both texts are for people, and neither holds the token."""

    what: str
    mend: str


def whoami(base_url: str, token: Token, timeout_seconds: float, *, user_agent: str) -> Account | Problem:
    """Asks the destination whose token this is. Takes at most `timeout_seconds`.

    Raises:
        ValueError: `base_url` is not a base URL, or the environment names a proxy or certificate file that cannot be
            used. The text names the variable, without a secret.
    """
    url = endpoint(base_url, request.ACCOUNT_PATH)
    value = token.value()
    if value is None:
        return Problem(token.problem or "no token", "put the token of the Attentive app there")
    asked_at = time.time()
    came = _ask(url, request.get(url, value, user_agent), timeout_seconds)
    if isinstance(came, Unanswered):
        mend = f"{_MEND_PATH}; {_MEND_CERTIFICATE}" if came.failure is Failure.CONNECT else _MEND_PATH
        return Problem(in_words(Reply(None, came.failure, cause=came.cause)), mend)
    if came.status != 200:  # noqa: PLR2004 - OK
        return _problem(came.status)
    return _account(came.body, _ahead_seconds(came.headers.get("date", ""), asked_at, time.time()))


def _ask(url: str, message: Message, timeout_seconds: float) -> Answer | Unanswered:
    async def ask() -> Answer | Unanswered:
        try:
            return await transport.exchange(message, deadline=loop.time() + timeout_seconds, may_send=lambda: True)
        finally:
            await transport.aclose()

    # Not `asyncio.run`: at its end it waits for the lookup threads, and one of these may hang.
    loop = asyncio.new_event_loop()
    try:
        transport = Transport(loop, age_max_seconds=timeout_seconds)
        transport.prove(url)
        return loop.run_until_complete(ask())
    finally:
        loop.close()


def _account(body: bytes, clock_ahead_seconds: float | None) -> Account | Problem:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        return Problem("GET /me answered 200 without a JSON object", f"is this Attentive's API? {_MEND_URL}")
    application, company, company_id, domain = (
        printable(str(given) if isinstance(given := document.get(name), str | int) else "", NAME_CHARACTERS_MAX)
        for name in ("applicationName", "companyName", "companyId", "attentiveDomainName")
    )
    return Account(application, company, company_id, domain, clock_ahead_seconds)


def _ahead_seconds(date: str, asked_at: float, answered_at: float) -> float | None:
    """How far our clock is ahead, at the least: the answer was written while we waited, in the second of its Date."""
    said = http_date(date)
    if said is None:
        return None
    return max(0.0, asked_at - (said + 1)) + min(0.0, answered_at - said)


def _problem(status: int) -> Problem:
    what = f"GET /me answered {status}"
    if status in _STATUSES:
        return Problem(what, _STATUSES[status])
    if 300 <= status < 400:  # noqa: PLR2004 - the redirects
        return Problem(f"{what}, a redirect, which is never followed since it would carry the token", _MEND_URL)
    return Problem(what, "try again; Attentive's status page tells of outages")

"""Checks of the token: whose it is, and whether this machine's clock agrees with Attentive's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from worker.attentive.account import Account, Problem, whoami
from worker.commands.check.finding import ASK_SECONDS, Finding
from worker.settings.model import Settings
from worker.wiring import parts

_SKEW_SECONDS: Final = 30.0


def check_account(settings: Settings) -> Iterator[Finding]:
    """One line each for the token, its company and the clock."""
    attentive = settings.attentive
    seconds = min(attentive.timeout_seconds, ASK_SECONDS)
    try:
        answer = whoami(attentive.base_url, parts.token(settings), seconds, user_agent=parts.USER_AGENT)
    except ValueError as error:  # HTTPS_PROXY, SSL_CERT_FILE …: its text names which, without a password
        answer = Problem(str(error), "correct that variable of the environment")
    if isinstance(answer, Problem):
        yield Finding.fail("token", answer.what, answer.mend)
        for check in ("company", "clock"):
            yield Finding.fail(check, "not checked: Attentive did not say whose token it is", "mend 'token' first")
        return
    yield Finding.ok(
        "token",
        f"application '{answer.application}'; only the first call shows whether it has the permission attributes:write",
    )
    yield _company(answer, attentive.company_id)
    yield _clock(answer.clock_ahead_seconds)


def _company(account: Account, expected: str | None) -> Finding:
    """Types and values that reach another company's account cannot be taken back."""
    who = f"'{account.company}' (id {account.company_id or 'not told'}, domain {account.domain or 'not told'})"
    if expected is None:
        hint = f"; set WORKER_ATTENTIVE__COMPANY_ID={account.company_id} to refuse the token of any other"
        return Finding.ok("company", who + (hint if account.company_id else ""))
    if account.company_id != expected:
        return Finding.fail(
            "company",
            f"the token belongs to {who}, and WORKER_ATTENTIVE__COMPANY_ID is {expected}: "
            "the worker would write to another company's account",
            "put the right company's token in its place, or correct WORKER_ATTENTIVE__COMPANY_ID",
        )
    return Finding.ok("company", f"{who}, as expected")


def _clock(ahead_seconds: float | None) -> Finding:
    if ahead_seconds is None:
        return Finding.warn("clock", "not checked: the answer of GET /me has no Date")
    if abs(ahead_seconds) < _SKEW_SECONDS:
        return Finding.ok("clock", f"agrees with Attentive's within {_SKEW_SECONDS:g} s")
    return Finding.warn(
        "clock",
        f"{abs(ahead_seconds):.0f} s {'ahead of' if ahead_seconds > 0 else 'behind'} Attentive's: "
        "ages in metrics and alerts, and times in logs and dead letters are wrong by that",
        "let this machine keep its time by NTP",
    )

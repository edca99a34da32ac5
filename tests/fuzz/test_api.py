"""Random answers of the destination, on the wire: each ends as a reply with a verdict, or as a failure with a name.

The real transport hears them, and the real engine judges them, in virtual time. A change counts as delivered only
after a whole answer said so, and no text repeats what the other side wrote.
"""

from __future__ import annotations

import json
import math
import os
import random
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.attentive.calling import TOKEN, running
from tests.attentive.certificates import Authority
from tests.attentive.scripted import Connection, serving
from tests.core.drive import STEP_SECONDS, Driver, phone
from tests.fuzz.api_answers import CANARY, OK, End, Sent, answer, serve
from tests.fuzz.heard import Heard, heard
from tests.fuzz.oracle import judge_detail, judge_letter
from worker.attentive.account import Account, Problem, whoami
from worker.attentive.senders import Senders
from worker.attentive.token import Token
from worker.core.delivery.verdict import in_words
from worker.core.model import Call, Failure, Reply, User

SEEDS = 60
SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))
USERS = 4
ANSWERS = 5  # random ones for each user; then the API is well
PATIENT_SECONDS = 20.0
HASTY_SECONDS = 0.2  # so long takes each answer that never ends
LATE_SECONDS = 10.0  # a reply after its deadline, on a busy machine
TURNS_MAX = 3_000
PAUSE_MAX_SECONDS = 60.0
_ME = "me"
_DESTINATIONS = frozenset({*range(300, 400), 401, 403, 405, 408, 425, 429, *range(500, 1_000)})
"""If everybody gets these, they say nothing about anybody's data: no dead letter may come of them."""
_TOO_LARGE = 413  # whoever says so: a smaller call may pass
_SECRETS = (CANARY, TOKEN, phone(0)[:8])


class Api:
    """The server: the answers of one seed to each user, and what they may have told."""

    def __init__(self, seed: int, *, patient: bool, is_outage: bool) -> None:
        """`patient`: the client's deadline is long. `is_outage`: the destination, and nobody's data, is bad."""
        self._seed = seed
        self._is_outage = is_outage
        self.patient = patient
        self.sent: dict[str, list[Sent]] = {user: [] for user in (_ME, *map(phone, range(USERS)))}
        self.applied: set[tuple[str, str]] = set()  # user and attribute

    def script(self, connection: Connection) -> None:
        """Answers the requests of one connection."""
        while (request := connection.receive()) is not None:
            call = json.loads(request.body or b"{}")
            user = call["user"]["phone"] if call else _ME
            sent = self._answer(user)
            self.sent[user].append(sent)
            found = _heard(sent)
            if found is not None and found.is_success:
                self.applied |= {(user, name) for name in call.get("properties", ())}
            if not serve(connection, sent):
                return

    def _answer(self, user: str) -> Sent:
        number, in_all = len(self.sent[user]), sum(map(len, self.sent.values()))
        if number >= ANSWERS or (self._is_outage and in_all >= USERS * ANSWERS / 2):
            return OK
        rng = random.Random(f"{self._seed}/{user}/{number}")
        while True:
            sent = answer(rng, patient=self.patient)
            if not self._is_outage or _blames_the_destination(sent):
                return sent


def check_api(seed: int, authority: Authority) -> None:
    """Checks some random answers to each of a few users, and one to the question whose token it is."""
    rng = random.Random(seed)
    is_outage = rng.random() < 0.2
    api = Api(seed, patient=rng.random() < 0.9, is_outage=is_outage)
    is_tls = rng.random() < 0.1
    timeout_seconds = PATIENT_SECONDS if api.patient else HASTY_SECONDS
    driver = Driver(timeout_seconds=timeout_seconds, concurrency=USERS)
    changes = {user: {f"a{number}": CANARY for number in range(rng.randint(1, 3))} for user in range(USERS)}
    for user, attributes in changes.items():
        driver.change(user, attributes)
    try:
        with serving(authority.serves(api.script) if is_tls else api.script) as server:
            base_url = server.base_url.replace("http", "https") if is_tls else server.base_url
            with running(base_url, concurrency=USERS) as senders:
                _deliver(driver, senders, api)
            _judge_account(whoami(base_url, Token.given(TOKEN), timeout_seconds, user_agent="w"), api.sent[_ME])
        lost = {(_phone(letter.user), one.name) for letter in driver.written for one in letter.attributes}
        assert {(phone(user), name) for user, names in changes.items() for name in names} <= api.applied | lost
        assert driver.committable == USERS
        assert not (is_outage and driver.written)
    except Exception as error:
        error.add_note(f"seed {seed} (set FUZZ_SEED to run it again): {_shown(api)}")
        raise


def _deliver(driver: Driver, senders: Senders, api: Api) -> None:
    """Turns until everything is settled. Virtual time jumps ahead whenever no call is in flight."""
    engine = driver.engine
    before: dict[Call, int] = {}  # the answers to its user
    for _ in range(TURNS_MAX):
        for call in driver.calls(senders.free):
            before[call] = len(api.sent[_phone(call.user)])
            senders.submit(call)
        for call, reply in senders.replies(PATIENT_SECONDS + LATE_SECONDS):
            _judge(call, reply, api.sent[_phone(call.user)][before[call] :], patient=api.patient)
            driver.reply(call, reply)
        for letter in driver.post():
            judge_detail(letter.detail, names=True)
            judge_letter(letter)
            assert letter.answer is not None
            assert letter.answer.status in _statuses(api.sent[_phone(letter.user)])
            _keeps_secrets([letter.detail, repr(letter)])
        _keeps_secrets([repr(engine.facts()), repr(driver.status)])
        if not engine.open_entries and not engine.letters_waiting:
            return
        if not engine.in_flight:
            ahead = engine.next_wakeup(driver.now) - driver.now.mono
            driver.advance(min(max(ahead, STEP_SECONDS), PAUSE_MAX_SECONDS))
    raise AssertionError(f"not settled: {driver.status}")


def _judge(call: Call, reply: Reply, sent: list[Sent], *, patient: bool) -> None:
    """The reply is what the answer says, or a failure with a name. Who is hasty may miss an answer, or get it late."""
    _keeps_secrets([in_words(reply), repr(reply)])
    judge_detail(in_words(reply), names=True)
    assert reply.seconds < call.timeout_seconds + LATE_SECONDS
    assert reply.retry_after_seconds is None or 0 <= reply.retry_after_seconds < math.inf
    if reply.status is None:
        assert reply.failure in ({Failure.BROKEN} if patient else {Failure.BROKEN, Failure.TIMEOUT})
    else:
        assert reply.failure is None
        assert reply.status in _statuses(sent)
    if patient and sent and sent[-1].status is not None:
        [answered] = sent
        found = _heard(answered)
        assert found is not None
        assert (reply.status, reply.web_page) == (answered.status, found.is_page)


def _judge_account(found: Account | Problem, sent: list[Sent]) -> None:
    if isinstance(found, Account):
        assert 200 in _statuses(sent)
    else:
        _keeps_secrets([found.what, found.mend])
        judge_detail(found.what, names=True)


def _heard(sent: Sent) -> Heard | None:
    return heard(sent.content, closed=sent.end is End.CLOSE)


def _phone(user: User | None) -> str:
    assert user is not None
    return str(user.phone)


def _blames_the_destination(sent: Sent) -> bool:
    found = _heard(sent)
    if found is None or sent.status is None:
        return found is None
    return found.status in _DESTINATIONS or (found.is_page and found.status != _TOO_LARGE)


def _statuses(sent: list[Sent]) -> set[int]:
    """What the whole ones among these answers say."""
    return {found.status for each in sent if (found := _heard(each)) is not None}


def _keeps_secrets(texts: Iterable[str]) -> None:
    for text in texts:
        for secret in _SECRETS:
            assert secret not in text, text


def _shown(api: Api) -> str:
    return "; ".join(
        f"{user} {number}: {sent.content[:300]!r} {sent.end.name}"
        for user, answers in api.sent.items()
        for number, sent in list(enumerate(answers))[:ANSWERS]
    )


@contextmanager
def api_checks() -> Iterator[Callable[[int], None]]:
    """Makes an authority, which the transport trusts. Yields the check of one seed."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        authority = Authority(Path(folder))
        environment.setenv("SSL_CERT_FILE", str(authority.trust()))
        yield lambda seed: check_api(seed, authority)


@pytest.mark.slow
def test_random_answers_are_replies_with_a_verdict_or_named_failures() -> None:
    with api_checks() as check:
        for seed in range(SEED, SEED + SEEDS):
            check(seed)

"""Scripted faults: reads them, and chooses the one for a request."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from http import HTTPStatus
from typing import Literal, TypeAlias

Document: TypeAlias = Mapping[str, object]

STATUSES = range(200, 600)
BODILESS = (204, 304)
SECONDS_MAX = 10**9
DRIP_MAX = 10**9

FRAMING_HEADERS = ("content-length", "transfer-encoding")

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_SECONDS = "seconds, at least 0"


class FaultError(Exception):
    """A fault is malformed. The message says which entry, what is wrong, and what is expected."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The parts of a request that a fault can match."""

    method: str
    path: str
    identifiers: frozenset[str] = field(default=frozenset(), repr=False)
    attributes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a fault applies to: those that fit every field that is given."""

    method: str | None = None
    path: str | None = None
    user: str | None = field(default=None, repr=False)
    attribute: str | None = None
    every: int = 1
    probability: float = 1.0
    seed: int = 0

    def fits(self, subject: Subject) -> bool:
        """Whether the request fits, before `every` and `probability` choose among those that fit."""
        return (
            self.method in (None, subject.method)
            and self.path in (None, subject.path)
            and (self.user is None or self.user in subject.identifiers)
            and (self.attribute is None or self.attribute in subject.attributes)
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry. Times are in seconds. `after` counts from when the faults were posted, `seconds` from `after`."""

    match: Match
    status: int | None = None
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None
    drip: float | None = None
    apply: bool = True
    times: int | None = None
    seconds: float | None = None
    after: float = 0.0


class FaultPlan:
    """The current faults, and how often each was used. The first one that fits a request applies to it."""

    def __init__(self, faults: Sequence[Fault], now: float) -> None:
        """`now` is in seconds, by any clock. `choose` needs the same clock."""
        self._start = now
        self._states = [_FaultState(fault, random.Random(fault.match.seed)) for fault in faults]  # noqa: S311 - no secret

    def choose(self, subject: Subject, now: float) -> Fault | None:
        """The fault for this request, now counted as used. None if none applies."""
        for state in self._states:
            if state.applies_to(subject, now - self._start):
                return state.fault
        return None

    def counts(self) -> list[dict[str, int | None]]:
        """How often each entry was used, and how many uses are left (null: unbounded), in their order."""
        return [
            {"used": state.used, "left": None if state.fault.times is None else state.fault.times - state.used}
            for state in self._states
        ]


@dataclass(slots=True)
class _FaultState:
    fault: Fault
    dice: random.Random
    fitting: int = 0
    used: int = 0

    def applies_to(self, subject: Subject, elapsed: float) -> bool:
        fault, match = self.fault, self.fault.match
        if fault.times is not None and self.used >= fault.times:
            return False
        if elapsed < fault.after or (fault.seconds is not None and elapsed >= fault.after + fault.seconds):
            return False
        if not match.fits(subject):
            return False
        self.fitting += 1
        if self.fitting % match.every or (match.probability < 1 and self.dice.random() >= match.probability):
            return False
        self.used += 1
        return True


def read_faults(document: object) -> list[Fault]:
    """Reads a list of faults.

    Raises:
        FaultError: With the number of the entry, counted from 1.
    """
    if not isinstance(document, list):
        raise FaultError("faults must be a list of {match, status or delay or drop or drip, times or seconds}")
    return [_Reader(entry, f"fault {number}").fault() for number, entry in enumerate(document, start=1)]


class _Reader:
    """Reads one mapping. Each error message begins with `where`."""

    def __init__(self, entry: object, where: str) -> None:
        self._where = where
        if not isinstance(entry, dict):
            raise self._error("must be a mapping")
        self._entry: Document = entry

    def _error(self, problem: str) -> FaultError:
        return FaultError(f"{self._where}: {problem}")

    def _refuse_unknown(self, known: Sequence[str]) -> None:
        for key in self._entry:
            if key not in known:
                near = get_close_matches(str(key), known, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(known)}"
                raise self._error(f"unknown key '{key}'{hint}")

    def _number(self, key: str, what: str, accept: Callable[[float], bool]) -> float | None:
        value = self._entry.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not accept(value):
            raise self._error(f"'{key}' must be {what}")
        return value

    def _count(self, key: str) -> int | None:
        value = self._number(key, "a whole number of at least 1", lambda number: number >= 1 and number % 1 == 0)
        return None if value is None else int(value)

    def _text(self, key: str) -> str | None:
        value = self._entry.get(key)
        if value is not None and not isinstance(value, str):
            raise self._error(f"'{key}' must be a string (put it in quotes)")
        return value

    def _boolean(self, key: str) -> bool | None:
        value = self._entry.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._error(f"'{key}' must be true or false")
        return value

    def fault(self) -> Fault:
        self._refuse_unknown(tuple(Fault.__dataclass_fields__))
        status = self._number("status", "a status from 200 to 599", lambda number: number in STATUSES)
        drop = self._drop()
        delay = self._number("delay", _SECONDS, lambda number: 0 <= number <= SECONDS_MAX)
        drip = self._number("drip", "bytes per second, more than 0", lambda number: 0 < number <= DRIP_MAX)
        if status is None and drop is None and delay is None and drip is None:
            raise self._error("needs one of status, delay, drop, drip")
        if drop is not None and (status is not None or drip is not None):
            raise self._error("drop answers nothing: leave out status and drip")
        body, headers = self._body(), self._headers()
        if status is None and (body is not None or headers):
            raise self._error("body and headers need a status")
        if status in BODILESS and body:
            raise self._error(f"an answer of {status} has no body")
        apply = self._boolean("apply")
        if apply is None:
            apply = status is None or status < HTTPStatus.MULTIPLE_CHOICES
        elif status is None:
            raise self._error("'apply' needs a status (for drop, say before or after)")
        return Fault(
            match=_Reader(self._entry.get("match") or {}, f"{self._where}, match").match(),
            status=None if status is None else int(status),
            body=body,
            headers=headers,
            delay=delay or 0.0,
            drop=drop,
            drip=drip,
            apply=apply,
            times=self._count("times"),
            seconds=self._number("seconds", _SECONDS, lambda number: 0 <= number <= SECONDS_MAX),
            after=self._number("after", _SECONDS, lambda number: 0 <= number <= SECONDS_MAX) or 0.0,
        )

    def match(self) -> Match:
        self._refuse_unknown(tuple(Match.__dataclass_fields__))
        method = self._text("method")
        probability = self._number("probability", "from 0 to 1", lambda number: 0 <= number <= 1)
        seed = self._number("seed", "a whole number", lambda number: number % 1 == 0)
        return Match(
            method=None if method is None else method.upper(),
            path=self._text("path"),
            user=self._text("user"),
            attribute=self._text("attribute"),
            every=self._count("every") or 1,
            probability=1.0 if probability is None else probability,
            seed=int(seed or 0),
        )

    def _drop(self) -> Literal["before", "after"] | None:
        value = self._entry.get("drop")
        if value is None or value is False:
            return None
        if value is True or value == "before":
            return "before"
        if value == "after":
            return "after"
        raise self._error("'drop' must be true, before or after")

    def _body(self) -> str | None:
        value = self._entry.get("body")
        return json.dumps(value) if isinstance(value, dict | list) else self._text("body")

    def _headers(self) -> dict[str, str]:
        value = self._entry.get("headers") or {}
        if not isinstance(value, dict):
            raise self._error("'headers' must be a mapping of names to values")
        headers = {str(name).lower(): str(content) for name, content in value.items()}
        for name, content in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not (content.isascii() and content.isprintable()):
                raise self._error(f"'headers' must be of printable ASCII characters, which '{name}' is not")
            if name in FRAMING_HEADERS:
                raise self._error(f"'headers' may not have {name}: it comes from the body")
        return headers

"""The end of the demo: what is held against what, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from worker.commands.demo.stage import Provoked
from worker.commands.demo.traffic import Person

_NAMED_MAX = 5


class Finding(NamedTuple):
    """One thing proven, or not."""

    name: str
    ok: bool
    text: str


def users(expected: Mapping[Person, Mapping[str, object]], found: Mapping[Person, Mapping[str, object]]) -> Finding:
    """Compares every user's final state; the text counts those that differ, and masks the first few."""
    differing = [person for person in expected.keys() | found.keys() if not _same_user(expected, found, person)]
    total = len(expected)
    if not differing:
        return Finding(name="users", ok=True, text=f"all {total:,} hold exactly the state that the topic says")
    named = ", ".join(person.masked for person in sorted(differing)[:_NAMED_MAX])
    more = f" and {len(differing) - _NAMED_MAX:,} more" if len(differing) > _NAMED_MAX else ""
    return Finding(
        name="users", ok=False, text=f"{len(differing):,} of {total:,} differ from what the topic says: {named}{more}"
    )


def dead_letters(provoked: Provoked, letters: Iterable[Mapping[str, Any]]) -> Finding:
    """Compares the dead letters, by reason and by the place of every change they carry, with those provoked."""
    found = {
        (letter["reason"], attribute["partition"], attribute["offset"])
        for letter in letters
        for attribute in letter["attributes"]
    }
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(Counter(one[0] for one in provoked).items()))
    if found == provoked:
        return Finding(
            name="dead letters", ok=True, text=f"{len(found):,}, for exactly the changes that provoked one ({reasons})"
        )
    return Finding(
        name="dead letters",
        ok=False,
        text=f"{len(provoked):,} provoked ({reasons}), of which {len(provoked - found):,} are missing; "
        f"{len(found - provoked):,} that none provoked",
    )


def offsets(events: int, committed: int) -> Finding:
    """Compares what the group has committed with what was produced."""
    return Finding(name="offsets", ok=committed == events, text=f"{committed:,} of {events:,} events committed")


def order(overlaps: int) -> Finding:
    """Two calls for a user at once could overtake each other."""
    text = "never two calls at once for a user" if not overlaps else f"{overlaps:,} times two calls at once for a user"
    return Finding(name="order", ok=not overlaps, text=text)


def stop(status: int) -> Finding:
    """A stop by SIGTERM that left nothing behind ends with 0."""
    return Finding(name="stop", ok=status == 0, text=f"SIGTERM, then exit status {status}")


def state_of(lines: Sequence[Mapping[str, Any]]) -> dict[Person, Mapping[str, object]]:
    """Every user in the sandbox by the identifier that the demo uses, with attributes."""
    return {_person_of(line["user"]): line["attributes"] for line in lines}


def _person_of(user: Mapping[str, Any]) -> Person:
    flat = {**user, **user.get("externalIdentifiers", {})}
    kind = next(kind for kind in ("phone", "email", "clientUserId") if kind in flat)
    return Person(kind, str(flat[kind]))


def _same_user(
    expected: Mapping[Person, Mapping[str, object]], found: Mapping[Person, Mapping[str, object]], person: Person
) -> bool:
    wanted, held = expected.get(person), found.get(person)
    if wanted is None or held is None or wanted.keys() != held.keys():
        return False
    return all(_same(wanted[name], held[name]) for name in wanted)


def _same(wanted: object, held: object) -> bool:
    """Whether both are the same JSON: to Python `1` and `True` are equal."""
    return _json_kind(wanted) is _json_kind(held) and wanted == held


def _json_kind(value: object) -> type:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return Decimal
    return type(value)

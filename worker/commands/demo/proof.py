"""The proof at the end of the demo: compares what the worker left behind with what was produced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from worker.commands.demo.stage import Provoked
from worker.commands.demo.traffic import Person
from worker.core.held import same_json
from worker.core.model import Letter

_NAMED_MAX = 5


class Finding(NamedTuple):
    """One comparison, and whether it holds."""

    name: str
    ok: bool
    text: str


def users(expected: Mapping[Person, Mapping[str, object]], found: Mapping[Person, Mapping[str, object]]) -> Finding:
    """Compares every user's final state. The text counts those that differ, and names the first few, masked."""
    differing = [person for person in expected.keys() | found.keys() if not _same_user(expected, found, person)]
    total = len(expected)
    if not differing:
        return Finding(name="users", ok=True, text=f"all {total:,} have exactly the state that the topic says")
    named = ", ".join(person.masked for person in sorted(differing)[:_NAMED_MAX])
    more = f" and {len(differing) - _NAMED_MAX:,} more" if len(differing) > _NAMED_MAX else ""
    return Finding(
        name="users", ok=False, text=f"{len(differing):,} of {total:,} differ from what the topic says: {named}{more}"
    )


def dead_letters(provoked: Provoked, letters: Iterable[Letter]) -> Finding:
    """Compares the dead letters with those provoked, by reason and by partition and offset of each change."""
    found = {
        (letter.reason.value, attribute.partition.number, attribute.offset)
        for letter in letters
        for attribute in letter.attributes
    }
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(Counter(one[0] for one in provoked).items()))
    if found == provoked:
        return Finding(
            name="dead letters",
            ok=True,
            text=f"{len(found):,}, for exactly the changes that should cause one ({reasons})",
        )
    return Finding(
        name="dead letters",
        ok=False,
        text=f"{len(provoked):,} expected ({reasons}), of which {len(provoked - found):,} are missing; "
        f"{len(found - provoked):,} unexpected",
    )


def offsets(events: int, committed: int) -> Finding:
    """Compares the group's committed offsets with the number of events."""
    return Finding(name="offsets", ok=committed == events, text=f"{committed:,} of {events:,} events committed")


def order(overlaps: int) -> Finding:
    """Checks that no user had two calls at once: they could overtake each other."""
    text = "never two calls at once for a user" if not overlaps else f"{overlaps:,} times two calls at once for a user"
    return Finding(name="order", ok=not overlaps, text=text)


def stop(status: int) -> Finding:
    """Checks the exit status: 0 means that the drain left nothing behind."""
    return Finding(name="stop", ok=status == 0, text=f"SIGTERM, then exit status {status}")


def state_of(lines: Sequence[Mapping[str, Any]]) -> dict[Person, Mapping[str, object]]:
    """The attributes of every user in the sandbox, by the identifier that the demo uses."""
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
    return all(same_json(wanted[name], held[name]) for name in wanted)

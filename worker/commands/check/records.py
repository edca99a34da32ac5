"""A rehearsal with the newest records: what they would become. Makes no call, joins no group, commits nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.commands.check.finding import ASK_SECONDS, Finding
from worker.core.counted import counted
from worker.core.model import Partition, Reason
from worker.jobs.rehearsal import CALL, EXAMPLES_MAX, NOTHING, SKIPPED, Rehearsal
from worker.jobs.unfinished import Unfinished
from worker.kafka import bounds
from worker.kafka.connection import PropertiesRefused
from worker.kafka.range import Range, RangeFailed, Span
from worker.kafka.topics import TopicsUnavailable, partition_counts
from worker.masking import MASK
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.parts import Unusable
from worker.wiring.rehearsal import records, rehearsal

_CHECK: Final = "records"
_READ_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.2
_NAMES_SHOWN: Final = 40
_NAME_CHARACTERS: Final = 60
_DETAIL_CHARACTERS: Final = 400
# These tell of a slip. That others match nothing in a few records is usual: they are there for rare cases.
_SLIPS: Final = ("ALLOW", "EXCLUDE", "RENAME", "TYPES")
_MEND: Final = "mend the mapping if the records are right, or their producer"
_MENDS: Final[Mapping[str, str]] = {
    Reason.INVALID_IDENTITY: "mend the mapping or their producer, or let the next identifier name the user: "
    "WORKER_IDENTITY__INVALID=next",
    Reason.SENSITIVE_DATA: "leave such attributes out by WORKER_MAPPING__EXCLUDE: Attentive forbids them, or "
    "WORKER_ATTRIBUTES__DENY does",
    Reason.UNDECODABLE: "set WORKER_SCHEMAS__FRAMING to how the values are written, or mend their producer",
    Reason.UNSUPPORTED_VALUE: "leave such attributes out by WORKER_MAPPING__EXCLUDE, or mend their producer",
}


def check_records(settings: Settings, wanted: int, log: FilteringBoundLogger) -> Iterator[Finding]:
    """Lines on the newest `wanted` records of each topic."""
    if wanted == 0:
        yield Finding.ok(_CHECK, "not read, as --records 0 says")
        return
    try:
        admin = parts.admin(settings, log)
        counts = partition_counts(admin, settings.kafka.topics, ASK_SECONDS)
        deadline = time.monotonic() + _READ_SECONDS
        for place, (topic, count) in enumerate(sorted(counts.items())):
            partitions = [Partition(topic, number) for number in range(count)]
            first = bounds.starts(admin, partitions, ASK_SECONDS)
            spans = _newest(first, bounds.ends(admin, partitions, ASK_SECONDS), wanted)
            share = (deadline - time.monotonic()) / (len(counts) - place)
            found = rehearsal(settings)
            problem = _rehearse(records(settings, spans, log), found, wanted, share) if spans else None
            yield from _findings(topic, found, problem)
    except (TopicsUnavailable, PropertiesRefused) as problem:
        yield Finding.fail(_CHECK, f"not read: {problem}", "mend 'brokers' and 'topics' first")
    except Unusable as problem:
        yield Finding.fail(_CHECK, f"not read: {problem}", "mend 'settings' and 'schemas' first")
    except RangeFailed as problem:
        yield Finding.fail(_CHECK, f"cannot be read: {problem}", "grant the worker READ on the topic")
    except Unfinished as problem:
        yield Finding.fail(_CHECK, f"not decoded: {problem}", "mend 'schemas' first")


def _newest(first: Mapping[Partition, int], last: Mapping[Partition, int], wanted: int) -> dict[Partition, Span]:
    filled = [partition for partition in first if first[partition] < last[partition]]
    each = ceil(wanted / max(1, len(filled)))
    return {one: Span(max(first[one], last[one] - each), last[one]) for one in filled}


def _rehearse(reader: Range, found: Rehearsal, wanted: int, seconds: float) -> str | None:
    """Reads for so long at most. Returns what was in the way if something is left."""
    deadline = time.monotonic() + max(1.0, seconds)
    taken = 0
    with reader:
        while reader.unread and taken < wanted:
            if time.monotonic() > deadline:
                return reader.problem or "they come too slowly"
            for record in reader.poll(_POLL_SECONDS):
                found.take(record)
                taken += 1
    return None


def _findings(topic: str, found: Rehearsal, problem: str | None) -> Iterator[Finding]:
    if problem is not None:
        yield Finding.warn(_CHECK, f"{topic}: not all were read in time: {problem}", "run it again")
    if not found.outcomes.total():
        yield Finding.ok(_CHECK, f"{topic}: there is none to rehearse with")
        return
    yield _summary(topic, found)
    for reason, detail in found.details.items():
        what = f"{topic}: {_letters(found, reason)}, {reason}; the latest is {_cut(detail)}"
        yield Finding.warn(_CHECK, what, _MENDS.get(reason, _MEND))
    for number, one in enumerate(found.examples, 1):
        user = ", ".join(f"{kind} {MASK}" for kind in one.identifiers)
        sent = _listed(f"{_name(name)} ({kind})" for name, kind in one.attributes.items())
        yield Finding.ok(_CHECK, f"{one.where} (example {number} of at most {EXAMPLES_MAX}): {user}: {sent}")
    for fate, names in found.fates.items():
        whose = _listed(f"{_name(name)} ({count})" for name, count in names.items())
        yield Finding.ok(_CHECK, f"{topic}: {fate} (in how many records): {whose}")
    for why in sorted(set(found.columns.values())):
        paths = (_name(path) for path, its in found.columns.items() if its == why)
        yield Finding.ok(_CHECK, f"{topic}: no attribute, because {why}: {_listed(paths)}")
    yield from _patterns(topic, found)
    for variable, path in found.never_held():
        what = "time" if variable.endswith("OCCURRED_AT") else "text or whole number"
        yield Finding.warn(
            _CHECK,
            f"{topic}: none of these records has a {what} at {_name(path)}, as {variable} says",
            "set it to the right field, or to nothing",
        )


def _summary(topic: str, found: Rehearsal) -> Finding:
    became = ", ".join(f"{count} {outcome}" for outcome, count in found.outcomes.most_common())
    what = f"{topic}: of the newest {counted(found.outcomes.total(), 'record')}: {became}"
    if 2 * found.failing > found.speaking:
        most = max(found.details, key=lambda reason: found.outcomes[reason])
        return Finding.fail(_CHECK, what, f"{_MENDS.get(most, _MEND)}: most of the records would be dead letters")
    if found.speaking and not found.outcomes[CALL]:
        mend = "mend WORKER_MAPPING__ATTRIBUTES or WORKER_ATTRIBUTES__ALLOW: nothing would ever be sent"
        return Finding.fail(_CHECK, what, mend)
    if found.outcomes[SKIPPED] and not found.speaking:
        mend = "check WORKER_MAPPING__TYPES and WORKER_MAPPING__IGNORE_WHEN…: every one of them would be passed over"
        return Finding.warn(_CHECK, what, mend)
    if found.outcomes[NOTHING] > found.outcomes[CALL]:
        return Finding.warn(_CHECK, what, "check the mapping: most of the records would be passed over")
    return Finding.ok(_CHECK, what)


def _letters(found: Rehearsal, reason: str) -> str:
    whole, beside = found.outcomes[reason], found.beside[reason]
    told = (counted(whole, "dead letter"), f"{counted(beside, 'dead letter')} beside what is sent")
    return " and ".join(text for text, count in zip(told, (whole, beside), strict=True) if count)


def _patterns(topic: str, found: Rehearsal) -> Iterator[Finding]:
    for variable, pattern in found.unmatched():
        what = f"{topic}: {_name(pattern)} in {variable} matches nothing in these records and their schemas"
        if variable.endswith(_SLIPS):
            yield Finding.warn(_CHECK, what, "names are case-sensitive: mend it, or remove it")
        else:
            yield Finding.ok(_CHECK, what)


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - _NAMES_SHOWN
    return ", ".join(every[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _name(name: str) -> str:
    """A name as a line can hold it. Keys of maps may be anything."""
    shown = name if name.isprintable() and name else repr(name[: _NAME_CHARACTERS + 1])
    return shown if len(shown) <= _NAME_CHARACTERS else shown[:_NAME_CHARACTERS] + "…"


def _cut(detail: str) -> str:
    return detail if len(detail) <= _DETAIL_CHARACTERS else detail[:_DETAIL_CHARACTERS] + "…"

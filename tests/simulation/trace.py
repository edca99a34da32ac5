"""Formats the lines of a trace."""

from __future__ import annotations

from tests.simulation.plan import NUMBERS, Fault, Produced
from worker.core.model import Call, Letter, Reply


def line(seconds: float, who: object, what: str, about: object) -> str:
    """One line: seconds since the beginning, who, what, and the details."""
    return f"{seconds:9.3f}  {who!s:<12} {what:<10} {_said(about)}".rstrip()


def _said(about: object) -> str:
    match about:
        case Call():
            probe = " (probe)" if about.probe else ""
            return f"#{about.number} user {NUMBERS[about.user]} {dict(about.properties)}{probe}"
        case (Call() as call, Reply() as reply):
            return f"#{call.number} user {NUMBERS[call.user]} -> {reply.status or reply.failure} {reply.message}"
        case Letter():
            names = {lost.name: lost.value for lost in about.attributes}
            sources = [(source.partition.number, source.offset) for source in about.sources]
            return f"{about.reason} {names} of {sources}"
        case (int() as offset, Produced() as produced):
            return f"@{offset} user {produced.user} {produced.kind} {dict(produced.attributes)}"
        case Fault():
            return f"for {about.seconds:.1f} s, target {about.target} {about.how}"
        case _:
            return str(about)

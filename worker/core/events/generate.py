"""A plan as generated Python: one function from a record's bytes to its event, or on through preflight to what is sent.

It is written for one schema and one mapping, keeps only what the mapping wants, and checks the rest. Of a record in
which anything is odd it says nothing: the plan of closures reads that again, and says what is wrong. Both give the same
event of any bytes. With preflight it gives a `Sendable`, the same as preflight makes of that event, or leaves the
record to the closures. Tests hold them to that.
"""

from __future__ import annotations

from collections.abc import Callable

from worker.core.avro.source import Constants, Names, Source, compiled
from worker.core.events.attributes import attributes_of
from worker.core.events.contacts import is_contact
from worker.core.events.event_source import EventSource
from worker.core.events.getting import within
from worker.core.events.mapping import Mapping, Shape
from worker.core.events.places import Naming, entry
from worker.core.events.plans import Plan
from worker.core.events.sendable_source import SendableSource
from worker.core.events.spots import NotCovered, Spots
from worker.core.events.values import as_text, custom_of, milliseconds, present, shown
from worker.core.model import Event, User
from worker.core.rules.preflight import Preflight

_LINES_MAX = 12_000


def generated(
    mapping: Mapping, shape: Shape, named: Naming, names: Names, read_key: Callable[[bytes, int], object] | None,
    closures: Plan, what: str, preflight: Preflight | None = None,
) -> Plan:  # fmt: skip
    """The plan.

    Args:
        mapping: What to read.
        shape: The schema, which is both the writer's and the one whose paths the mapping has.
        named: Gives attributes of maps their names.
        names: Known names, for all plans.
        read_key: Reads the Kafka key, if the mapping looks at it.
        closures: The plan that reads what this one does not.
        what: The schema, for tracebacks.
        preflight: What the plan goes on to. None: it ends with an event.

    Raises:
        NotCovered: Closures have to read all records of this schema.
    """
    constants = Constants(
        Event=Event, User=User, as_text=as_text, custom_of=custom_of, entry=entry, is_contact=is_contact,
        milliseconds=milliseconds, present=present, shown=shown, within=within, read_key=read_key, closures=closures,
    )  # fmt: skip
    spots = Spots(shape.value, constants)
    attributes = attributes_of(mapping, shape, named)
    reading = Source(2)
    if preflight is None:
        event = EventSource(mapping, shape, spots, constants)
    else:
        event = SendableSource(mapping, shape, spots, constants, preflight)
    event.write(attributes)
    values = event.values(reading, names)
    spots.read(reading, values)
    lines = [
        "def decode(data, start, key, key_start):",
        "    try:",
        *(["        usage.objects = 0"] if values.counts else []),
        "        at = start",
        *reading.lines,
        "        if at != len(data):",
        "            raise Odd",
        *(["        keyed = None if key is None else read_key(key, key_start)"] if read_key is not None else []),
        *event.source.lines,
        "    except Exception:",
        "        pass",
        "    return closures(data, start, key, key_start)",
    ]
    if len(lines) > _LINES_MAX:
        raise NotCovered
    plan: Plan = compiled(lines, constants, what)
    return plan

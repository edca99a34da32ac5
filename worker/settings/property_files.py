"""Joins the properties of a client from the three settings that may give them.

They are a mapping, a file in Java's form, and a mapping of names to files that each hold one value, as Kubernetes
mounts a Secret. None is stronger than another: a property that stands in two places is a problem that names both.

No message repeats what a file holds, nor a path without a file: somebody may have put the secret itself there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from worker.kafka.known import one_name
from worker.settings.java_properties import NotProperties, entries
from worker.settings.model import Settings
from worker.settings.names import NAMES, nearest
from worker.settings.sources import Problem
from worker.settings.values import is_text

BYTES_MAX: Final = 1_048_576
"""No Secret of Kubernetes is larger."""

PLACES: Final[Mapping[str, tuple[str, str, str]]] = {
    "kafka.properties": ("kafka.properties", "kafka.properties_file", "kafka.property_files"),
    "schemas.registry_properties": (
        "schemas.registry_properties",
        "schemas.registry_properties_file",
        "schemas.registry_property_files",
    ),
}
"""By the setting that holds them all in the end: the mapping, the file in Java's form, the files of single values."""

_LINE_END: Final = re.compile(r"\r?\n\Z")
_JAVA_ONLY: Final[Mapping[str, str]] = {
    "sasl.jaas.config": "set sasl.username and sasl.password instead",
    "ssl.truststore.location": "set ssl.ca.location to a file of certificates (PEM) instead",
    "ssl.truststore.password": "remove it: ssl.ca.location needs none",
    "ssl.truststore.type": "remove it: ssl.ca.location is PEM",
    "ssl.keystore.type": "remove it: ssl.keystore.location is PKCS#12",
}
"""What users of Java's clients have in such files, and what to do here."""


class Property(NamedTuple):
    """One property, and its exact place."""

    name: str
    value: str
    where: str


class Joined(NamedTuple):
    """The settings with all properties, and by the setting's path: the place of each property, and what is wrong."""

    settings: Settings
    sources: Mapping[str, Mapping[str, str]]
    problems: Mapping[str, list[Problem]]


class _Unusable(ValueError):
    """A file cannot be used. The message says why."""


def joined(settings: Settings, where: Callable[[str], str]) -> Joined:
    """Reads the files and joins all properties. `where` gives the source of a setting by its path."""
    sources, problems = {}, {}
    for path, places in PLACES.items():
        section, field = path.split(".")
        given, file, files = (getattr(getattr(settings, section), place.split(".")[1]) for place in places)
        troubles: list[Problem] = []
        found = [Property(name, value, where(places[0])) for name, value in given.items()]
        if file is not None:
            found += _in_java_form(file, where(places[1]), NAMES[path].known_properties, troubles)
        found += _single_values(files, where(places[2]), troubles)
        problems[path] = [*troubles, *_given_twice(found)]
        sources[path] = {each.name: each.where for each in found}
        changed = getattr(settings, section).model_copy(update={field: {each.name: each.value for each in found}})
        settings = settings.model_copy(update={section: changed})
    return Joined(settings, sources, problems)


def _in_java_form(path: Path, where: str, known: Collection[str], problems: list[Problem]) -> Iterator[Property]:
    """The properties of a file. What is wrong with it goes to `problems`."""
    try:
        text = _text(path)
        found = list(entries(text))
    except _Unusable as why:
        problems.append(Problem(where, f"the file {why}"))
        return
    except NotProperties as why:
        problems.append(Problem(f"{path}:{why.line}", str(why)))
        return
    if not found:
        problems.append(Problem(where, "the file holds no property; write name=value lines into it"))
    for entry in found:
        place = f"{path}:{entry.line}"
        if entry.name not in known:
            problems.append(Problem(place, _unknown(entry.name, known)))
        elif not is_text(entry.value):
            problems.append(Problem(place, f"{entry.name}: holds a NUL character; write it again"))
        else:
            yield Property(entry.name, entry.value, place)


def _unknown(name: str, known: Collection[str]) -> str:
    """Names no property: if a file of one value is read as properties, the value is a name."""
    near = nearest(name, known)
    advice = _JAVA_ONLY.get(name) or (f"did you mean {near}?" if near else "mend its name, or remove it")
    return f"there is no property of this name; {advice}"


def _single_values(paths: Mapping[str, Path], where: str, problems: list[Problem]) -> Iterator[Property]:
    """The properties that have a file each. One line end at the end of a file is not part of the value."""
    for name, path in paths.items():
        try:
            yield Property(name, _LINE_END.sub("", _text(path)), str(path))
        except _Unusable as why:
            problems.append(Problem(where, f"{name}: the file {why}"))


def _given_twice(found: Iterable[Property]) -> Iterator[Problem]:
    first: dict[str, Property] = {}
    for each in found:
        other = first.setdefault(one_name(each.name), each)
        if other is not each:
            name = "" if other.name == each.name else f" by the name {other.name}"
            yield Problem(each.where, f"{each.name}: is given in {other.where} as well{name}; keep one")


def _text(path: Path) -> str:
    """The text of a file. Raises `_Unusable`."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _Unusable("is not a regular file; mend the path")
            content = file.read(BYTES_MAX + 1)
    except FileNotFoundError:
        raise _Unusable("does not exist; mend the path") from None
    except OSError as error:
        raise _Unusable(f"can't be read: {(error.strerror or type(error).__name__).lower()}") from None
    if len(content) > BYTES_MAX:
        raise _Unusable(f"is larger than {BYTES_MAX} bytes, so it is the wrong one; mend the path")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Unusable("is not UTF-8 text; save it as UTF-8") from None
    if not text.strip():
        raise _Unusable("is empty; write the value into it")
    if "\0" in text:
        raise _Unusable("holds a NUL character, so it is no text; mend the path")
    return text


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file. A named pipe without a writer would otherwise stop the start for ever."""
    return os.open(path, flags | os.O_NONBLOCK)

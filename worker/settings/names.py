"""The names of a setting: in code, in the file, in the environment, and as a flag."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from worker.settings.model import Settings
from worker.settings.values import Properties, Secret

ENVIRONMENT_PREFIX = "WORKER_"
FILE_VARIABLE = "WORKER_CONFIG"


@dataclass(frozen=True, slots=True)
class Name:
    """One setting."""

    section: str
    field: str
    info: FieldInfo

    @property
    def path(self) -> str:
        """The name in code and, as nested keys, in the file: `window.seconds`."""
        return f"{self.section}.{self.field}"

    @property
    def variable(self) -> str:
        """The name in the environment: `WORKER_WINDOW__SECONDS`."""
        return f"{ENVIRONMENT_PREFIX}{self.section}__{self.field}".upper()

    @property
    def flag(self) -> str:
        """The name on the command line: `--window-seconds`."""
        return f"--{self.section}-{self.field}".replace("_", "-")

    @property
    def parameter(self) -> str:
        """The name under which click passes the flag's value."""
        return f"{self.section}_{self.field}"

    @property
    def secret(self) -> bool:
        """Whether the whole value is a secret."""
        return any(isinstance(mark, Secret) for mark in self.info.metadata)

    @property
    def properties(self) -> bool:
        """Whether the value is a mapping of properties, some of which may be secrets."""
        return bool(self.known_properties)

    @property
    def known_properties(self) -> frozenset[str]:
        """The names of properties that whoever gets them knows."""
        marks = (mark.known for mark in self.info.metadata if isinstance(mark, Properties))
        return next(marks, frozenset())


def section_models() -> dict[str, type[BaseModel]]:
    """The sections by name, in display order."""
    models: dict[str, type[BaseModel]] = {}
    for section, info in Settings.model_fields.items():
        model = info.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"{section} is not a section")
        models[section] = model
    return models


NAMES: dict[str, Name] = {
    name.path: name
    for section, model in section_models().items()
    for name in (Name(section, field, info) for field, info in model.model_fields.items())
}
"""Every setting by its path, in display order."""


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name that `given` most likely means, or None."""
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(given.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None

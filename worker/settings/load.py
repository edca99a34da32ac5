"""Loads the worker's configuration: one frozen `Settings`, and the source of each value in it.

Sources, strongest first: flags, the environment (`WORKER_…`), a YAML file, defaults. No settings library layers them,
because none gives a user all errors of a load at once, the exact place of each, and the source of every value.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from worker.settings.finding import Finding
from worker.settings.messages import explain
from worker.settings.model import Settings
from worker.settings.names import FILE_VARIABLE, NAMES, section_models
from worker.settings.property_files import PLACES, Joined, joined
from worker.settings.rules import findings
from worker.settings.sources import Given, Layer, Problem, from_environment, from_file, from_flags

DEFAULT = "default"
"""The source of a value that nobody set."""


class ConfigurationError(Exception):
    """The configuration cannot be used.

    `problems` says what to mend, one line each, without any secret. `loaded` is what can be shown all the same.
    """

    def __init__(self, problems: list[str], loaded: Loaded | None = None) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
        self.loaded = loaded


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force.

    `sources` maps each setting's path (`window.seconds`) to the source of its value, `property_sources` each setting
    that holds properties (`kafka.properties`) to the place of each property. `unusable` has the paths of those whose
    value is missing or wrong, alone or beside others: nobody may use or show the one in `settings`.
    """

    settings: Settings
    sources: Mapping[str, str]
    property_sources: Mapping[str, Mapping[str, str]]
    unusable: frozenset[str] = frozenset()


def load(config_path: Path | None, flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """Reads and checks the whole configuration.

    Args:
        config_path: The YAML file. None: the one that `WORKER_CONFIG` names, if any.
        flags: Values by the setting's path (`window.seconds`), as text or as Python values.
        environ: The environment.

    Raises:
        ConfigurationError: With everything that is wrong, from all sources.

    Example:
        >>> loaded = load(None, {"window.seconds": "7"}, os.environ)
        >>> loaded.settings.window.seconds, loaded.sources["window.seconds"]
        (7.0, 'flag --window-seconds')
    """
    if config_path is None and environ.get(FILE_VARIABLE):
        config_path = Path(environ[FILE_VARIABLE])
    weakest_first = (
        from_file(config_path) if config_path is not None else Layer(),
        from_environment(environ),
        from_flags(flags),
    )
    problems = [problem for layer in weakest_first for problem in layer.problems]
    if weakest_first[0].problems and not weakest_first[0].given:
        # The file could not be read: what it sets would look as if it were missing.
        raise ConfigurationError([str(problem) for problem in problems])
    given: dict[str, Given] = {}
    for layer in weakest_first:
        given |= layer.given
    settings, invalid = _validate(given)
    together = joined(settings, lambda path: _where(path, given))
    problems += [*invalid.values(), *itertools.chain(*together.problems.values())]
    unsound = invalid.keys() | {path for path, found in together.problems.items() if found}
    broken = list(findings(together.settings))
    problems += [
        Problem(_place(finding, together, given), finding.text)
        for finding in broken
        if not unsound & set(finding.names)
    ]
    # Whatever a rule looked at may be a secret in the wrong place.
    unusable = unsound | {path for finding in broken for path in finding.names}
    sources = {path: _source(path, given) for path in NAMES} | {path: _fault(path, given) for path in unusable}
    loaded = Loaded(together.settings, sources, together.sources, frozenset(unusable))
    if problems:
        raise ConfigurationError([str(problem) for problem in problems], loaded)
    return loaded


def _where(path: str, given: Mapping[str, Given]) -> str:
    return given[path].where if path in given else path


def _source(path: str, given: Mapping[str, Given]) -> str:
    """Where a setting's value is from. Properties may be from several settings."""
    return ", ".join(given[place].where for place in PLACES.get(path, (path,)) if place in given) or DEFAULT


def _fault(path: str, given: Mapping[str, Given]) -> str:
    if path in given:
        return f"{given[path].where}: cannot be used"
    return "required, and set nowhere" if NAMES[path].info.is_required() else DEFAULT


def _place(finding: Finding, together: Joined, given: Mapping[str, Given]) -> str:
    """The place to mend: that of the property, if it is about one."""
    path = finding.names[0]
    by_property = together.sources.get(path, {})
    if finding.about in by_property:
        return by_property[finding.about]
    return _source(path, given) if path in PLACES and by_property else _where(path, given)


def _validate(given: Mapping[str, Given]) -> tuple[Settings, dict[str, Problem]]:
    """The settings, and by path what is wrong with single values.

    An invalid value is replaced by its default, so that the rules can still check the other settings.
    """
    invalid: dict[str, Problem] = {}
    sections: dict[str, BaseModel] = {}
    for section, model in section_models().items():
        raw = {field: given[path].value for field in model.model_fields if (path := f"{section}.{field}") in given}
        try:
            sections[section] = model.model_validate(raw)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                name = NAMES[f"{section}.{details['loc'][0]}"]
                invalid.setdefault(name.path, Problem(_where(name.path, given), explain(name, details)))
            sound = {field: value for field, value in raw.items() if f"{section}.{field}" not in invalid}
            sections[section] = model.model_validate(_required_stand_ins(model) | sound)
    return Settings.model_validate(sections), invalid


def _required_stand_ins(model: type[BaseModel]) -> dict[str, object]:
    """A text for each required setting. It is never used, because the load fails."""
    return {field: "missing" for field, info in model.model_fields.items() if info.is_required()}

"""The worker's configuration: one frozen `Settings`, and where each value in it came from.

Sources, strongest first: flags, the environment (`WORKER_…`), a YAML file, defaults. They are layered here and
not by a settings library, because a user is owed what those do not give: all errors of one load at once, the
exact place of each, and the source of every value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from worker.settings.messages import explain
from worker.settings.model import KafkaSettings, Settings
from worker.settings.names import FILE_VARIABLE, NAMES, section_models
from worker.settings.rules import findings
from worker.settings.sources import Given, Layer, Problem, from_environment, from_file, from_flags

__all__ = ["ConfigurationError", "KafkaSettings", "Loaded", "Settings", "load"]

DEFAULT = "default"
"""The source of a value that none gave."""


class ConfigurationError(Exception):
    """The configuration can't be used.

    `problems` names all that is to be mended, one line each; none holds a secret.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force. `sources` says, by the setting's path (`window.seconds`), where its value came from."""

    settings: Settings
    sources: Mapping[str, str]


def load(config_path: Path | None, flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """Reads and checks the whole configuration.

    Args:
        config_path: the YAML file; None for the one that `WORKER_CONFIG` names, or for none.
        flags: values by the setting's path (`window.seconds`), as text or as Python values.
        environ: the environment.

    Raises:
        ConfigurationError: with everything that is wrong, from all sources.
    """
    if config_path is None and environ.get(FILE_VARIABLE):
        config_path = Path(environ[FILE_VARIABLE])
    weakest_first = (
        from_file(config_path) if config_path is not None else Layer(),
        from_environment(environ),
        from_flags(flags),
    )
    problems = [problem for layer in weakest_first for problem in layer.problems]
    given: dict[str, Given] = {}
    for layer in weakest_first:
        given |= layer.given
    settings, invalid = _validate(given)
    problems += invalid.values()
    problems += [
        Problem(_where(finding.names[0], given), finding.text)
        for finding in findings(settings)
        if not invalid.keys() & set(finding.names)
    ]
    if problems:
        raise ConfigurationError([str(problem) for problem in problems])
    return Loaded(settings, {path: given[path].where if path in given else DEFAULT for path in NAMES})


def _where(path: str, given: Mapping[str, Given]) -> str:
    return given[path].where if path in given else path


def _validate(given: Mapping[str, Given]) -> tuple[Settings, dict[str, Problem]]:
    """Returns the settings and what is wrong with single values, by path.

    A refused value is left at its default, so that the rules can still be checked for the other settings.
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
    """Returns something for each required text; it is never used, for the load fails."""
    return {field: "missing" for field, info in model.model_fields.items() if info.is_required()}

"""What an entry of the chart's `jobs` may hold: its own keys, and the options that its command has."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from worker.settings.flags import SettingOption

Schema = dict[str, Any]

NAME: Final = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "replay": ("worker.commands.replay", "command"),
    "dead-letters redrive": ("worker.commands.dead_letters", "group"),
    "verify": ("worker.commands.verify", "command"),
}
"""What may run as a job, and where the command is."""

_LEFT_OUT: Final = {
    "config",  # the chart mounts the file
    "name",  # the chart makes it, so that a pod goes on where the one before it stopped
    "restart",  # so would every new pod
    "metrics-port",  # the chart sets it
    "user",  # everybody who may look at the object would see the identifier; use `users-file`
    "values",  # they would go into the log
}

ENTRY: Final[Mapping[str, Schema]] = {
    "command": {"description": "What to run.", "enum": []},
    "options": {
        "description": "The command's options, named as on its command line without the dashes: `from: -26h`, "
        "`dry-run: true`, a list for one that may be repeated. `attribute-worker COMMAND --help` tells them all. The "
        "chart itself sets `--name` and `--metrics-port`. Identifiers and values have no place in a manifest "
        "or in a log, so `--user` and `--values` are not taken: mount a file, and name it with `users-file`.",
        "type": "object",
    },
    "schedule": {
        "description": "Five fields of cron. With it the entry is a CronJob, without it a Job that runs at once.",
        "type": "string",
        "minLength": 9,
    },
    "timeZone": {
        "description": "Time zone of the schedule, as `Europe/Berlin`. Default: that of the cluster's controllers.",
        "type": "string",
        "minLength": 1,
    },
    "suspend": {
        "description": "Do not run it. A CronJob that is suspended waits until somebody starts a run by hand: `kubectl "
        "create job --from=cronjob/…`.",
        "type": "boolean",
    },
    "startingDeadlineSeconds": {
        "description": "A scheduled run that could not start for so long is left out.",
        "type": "integer",
        "minimum": 10,
    },
    "successfulJobsHistoryLimit": {
        "description": "Scheduled runs to keep that went well.",
        "type": "integer",
        "minimum": 0,
    },
    "failedJobsHistoryLimit": {
        "description": "Scheduled runs to keep that failed.",
        "type": "integer",
        "minimum": 0,
    },
    "backoffLimit": {
        "description": "How often to start it again after exit status 1 or a crash. Default: 6, and 0 for "
        "`verify`, which ends with 1 if something differs. A pod that is evicted does not count. After exit status 2, "
        "which is bad usage, nothing is tried again.",
        "type": "integer",
        "minimum": 0,
    },
    "activeDeadlineSeconds": {
        "description": "Ends the run after so long, as failed. A replay goes on at its next run.",
        "type": "integer",
        "minimum": 1,
    },
    "ttlSecondsAfterFinished": {
        "description": "Kubernetes removes a run so long after its end. Without a schedule keep it away: the "
        "next upgrade would find no Job, and make it again.",
        "type": "integer",
        "minimum": 0,
    },
    "resources": {
        "description": "On top of the worker's `resources`.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            kind: {
                "description": f"As in `resources.{kind}`.",
                "type": "object",
                "additionalProperties": {"type": ["string", "number"]},
            }
            for kind in ("requests", "limits")
        },
    },
    "podLabels": {
        "description": 'Labels of its pods, for example `sidecar.istio.io/inject: "false"`: a sidecar would '
        "keep it from ending.",
        "type": "object",
        "additionalProperties": {"type": "string"},
    },
    "podAnnotations": {
        "description": "Annotations of its pods.",
        "type": "object",
        "additionalProperties": {"type": "string"},
    },
}


def schema() -> Schema:
    """The schema of `jobs`: entries by name."""
    by_command = {name: options_of(command) for name in COMMANDS if (command := command_of(name)) is not None}
    keys = {**ENTRY, "command": {**ENTRY["command"], "enum": list(by_command)}}
    return {
        "type": "object",
        "propertyNames": {"pattern": NAME},
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "required": ["command"],
            "properties": keys,
            "allOf": [
                {
                    "if": {"properties": {"command": {"const": name}}},
                    "then": {"properties": {"options": _closed(options)}},
                }
                for name, options in by_command.items()
            ],
        },
    }


def command_of(name: str) -> click.Command | None:
    """The command of this name, or None if this version of the worker does not have it."""
    module, attribute = COMMANDS[name]
    found: click.Command = getattr(importlib.import_module(module), attribute)
    for part in name.split()[1:]:
        inner = found.get_command(click.Context(found), part) if isinstance(found, click.Group) else None
        if inner is None:
            return None
        found = inner
    return found


def options_of(command: click.Command) -> dict[str, Schema]:
    """The schema of each option that an entry may set, by its name without the dashes."""
    return dict(_options(command))


def _options(command: click.Command) -> Iterator[tuple[str, Schema]]:
    for option in command.params:
        name = option.opts[0].removeprefix("--")
        if isinstance(option, click.Option) and not isinstance(option, SettingOption) and name not in _LEFT_OUT:
            yield name, {"description": option.help or "", **_kind(option)}


def _kind(option: click.Option) -> Schema:
    if option.is_flag:
        return {"type": "boolean"}
    one: Schema = {"type": "string", "minLength": 1}
    if isinstance(option.type, click.IntRange):
        one = {"type": "integer", "minimum": option.type.min}
    elif isinstance(option.type, click.FloatRange):
        one = {"type": "number", "exclusiveMinimum": option.type.min}
    elif isinstance(option.type, click.Choice):
        one = {"enum": list(option.type.choices)}
    return {"type": "array", "minItems": 1, "items": one} if option.multiple else one


def _closed(properties: Mapping[str, Schema]) -> Schema:
    return {"additionalProperties": False, "properties": dict(properties)}

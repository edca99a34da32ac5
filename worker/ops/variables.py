"""The OTEL_* variables in the environment: the SDK reads them, and raises at some values of some of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

_PREFIX: Final = "OTEL_"
_log = structlog.get_logger("worker.ops")

_Made = TypeVar("_Made")


def ignoring_unusable_variables(make: Callable[[], _Made]) -> _Made:
    """Calls `make`. If it raises, removes the OTEL_* variables that are to blame, and says so in the log.

    Metrics are no reason not to deliver. Which variables the SDK reads changes with its releases, so this tries them:
    first without each one alone, then without all of them.

    Raises:
        Exception: what `make` raises, if it also does so without them.
    """
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - the SDK has no exception of its own for this
        unusable = error
    present = {name: value for name, value in os.environ.items() if name.startswith(_PREFIX)}
    for removed in [*([name] for name in present), [*present]]:
        for name in removed:
            os.environ.pop(name, None)
        try:
            made = make()
        except Exception:  # noqa: BLE001 - as above
            os.environ.update(present)
            continue
        for name in removed:
            # Never the value: some of these variables hold a token.
            _log.warning("variable_ignored", variable=name, detail="OpenTelemetry does not take its value: mend it")
        return made
    raise unusable

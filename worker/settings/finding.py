"""A broken rule of the settings, and words for it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

_SHOWN_MAX = 249  # as a topic's name


class Finding(NamedTuple):
    """A broken rule: the settings it looked at, the one to mend first, and what is wrong with that one."""

    names: tuple[str, ...]
    text: str
    about: str = ""
    """The property to mend, if the first setting holds properties."""


def cut(text: str) -> str:
    """A text in full, unless it is very long."""
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def trouble(path: Path, access: int, *, is_directory: bool = False) -> str | None:
    """Why a file or directory can't be used so. None if it can."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return f"{path} does not exist"
    except OSError as error:  # a name that is too long, a directory that may not be entered
        return f"{cut(str(path))} can't be read: {(error.strerror or type(error).__name__).lower()}"
    if not (stat.S_ISDIR(mode) if is_directory else stat.S_ISREG(mode)):
        return f"{path} is not a {'directory' if is_directory else 'file'}"
    return None if os.access(path, access) else f"{path} can't be read by this user"

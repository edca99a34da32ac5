"""What git knows of this code."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.compiled import ROOT


def git(*arguments: str, root: Path = ROOT) -> str:
    """What git says; nothing where there is no git, or no repository."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", *arguments],  # noqa: S607 - whichever git the developer uses
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()

"""The random checks without end: `scripts/fuzz` with `--schemas`, `--envelopes`, `--registry` or `--api`.

Stops at the first finding.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from tests.fuzz.test_api import api_checks
from tests.fuzz.test_envelopes import envelope_checks
from tests.fuzz.test_registry import registry_checks
from tests.fuzz.test_schemas import check_schema

CHECKS: dict[str, AbstractContextManager[Callable[[int], None]]] = {
    "schemas": nullcontext(check_schema),
    "envelopes": envelope_checks(),
    "registry": registry_checks(),
    "api": api_checks(),
}


def main(what: str, seconds: float) -> None:
    """Checks fresh seeds for so long. A finding is raised, with its seed in its notes."""
    end = time.monotonic() + seconds
    checked = 0
    try:
        with CHECKS[what] as check:
            while time.monotonic() < end:
                check(secrets.randbits(32))
                checked += 1
    finally:
        sys.stdout.write(f"{what}: {checked} seeds without a finding\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))

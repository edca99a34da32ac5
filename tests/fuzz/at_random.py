"""The random checks without end: `scripts/fuzz --schemas` and `scripts/fuzz --answers`. Stops at the first finding."""

from __future__ import annotations

import secrets
import sys
import time

from tests.fuzz.test_answers import check_answers
from tests.fuzz.test_schemas import check_schema
from tests.support.stub_registry import stub_registry


def main(what: str, seconds: float) -> None:
    """Checks fresh seeds for so long. A finding is raised, with its seed in its notes."""
    end = time.monotonic() + seconds
    checked = 0
    with stub_registry() as stub:
        while time.monotonic() < end:
            seed = secrets.randbits(32)
            if what == "schemas":
                check_schema(seed)
            else:
                check_answers(seed, stub)
            checked += 1
    sys.stdout.write(f"{what}: {checked} seeds without a finding\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))

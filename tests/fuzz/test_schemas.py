"""Random schemas: valid ones are used; whatever others hold makes no more than their own records undecodable."""

from __future__ import annotations

import json
import os
import random
import secrets

from tests.fuzz import schemas
from tests.fuzz.schema_oracle import check_any, check_valid

SEEDS = 150
SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))


def check_schema(seed: int) -> None:
    """Checks one valid schema, and two with faults."""
    rng = random.Random(seed)
    schema = found = schemas.valid(rng)
    try:
        check_valid(schema, rng)
        for _ in range(2):
            found = schemas.spoilt(schema, rng)
            check_any(found, rng.randbytes(rng.choice((0, 5, 40))), rng)
    except Exception as error:
        error.add_note(f"seed {seed} (set FUZZ_SEED to run it again):\n{json.dumps(found)}")
        raise


def test_random_schemas_are_used_or_make_their_own_records_undecodable() -> None:
    for seed in range(SEED, SEED + SEEDS):
        check_schema(seed)

"""Random answers of a schema registry: each is a schema, or says that there is none, or is explained."""

from __future__ import annotations

import json
import os
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.fuzz import schemas
from tests.fuzz.oracle import judge_detail
from tests.support.avro import framed, record
from tests.support.stub_registry import Answer, StubRegistry, stub_registry
from worker.core.events.decode import Decoder, Undecodable
from worker.core.events.mapping import Mapping
from worker.registry.client import RegistryClient, explained

SEEDS = 60
SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))
CANARY = "hunter2"
"""A part of the answers, and of the URL, that no text may repeat."""

_STATUSES = (200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 404, 409, 418, 422, 429, 500, 503)
_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 40403, 40401, "40403", 1e300, 2**80, "", CANARY, "\ud800", [], {}, [[]], [CANARY], {"a": CANARY},
)  # fmt: skip
_KEYS = ("error_code", "message", "schema", "schemaType", "references", "ruleSet", "metadata", "id", "is_compatible")
_RULE = {"name": "r", "mode": "WRITEREAD", "type": "ENCRYPT", "tags": ["PII"]}
_REFERENCE = {"name": "A", "subject": "s", "version": 1}


def _answer(rng: random.Random) -> Answer:
    status = rng.choice(_STATUSES)
    kind = rng.random()
    if kind < 0.1:
        return status, rng.choice((b"", b"<html>" + CANARY.encode(), b"[" * 50_000, b"9" * 5_000, b"\xff\xfe", b"{"))
    if kind < 0.2:
        return status, rng.choice(_ODD)
    answer: dict[str, Any] = {key: rng.choice(_ODD) for key in rng.sample(_KEYS, rng.randint(0, 4))}
    if rng.random() < 0.7:
        answer["schema"] = json.dumps(schemas.spoilt(schemas.valid(rng), rng))
    if rng.random() < 0.3:
        answer["ruleSet"] = schemas.spoilt({"domainRules": [_RULE], "encodingRules": [_RULE]}, rng)
        answer["metadata"] = schemas.spoilt({"tags": {"*.a": ["PII"]}}, rng)
    if rng.random() < 0.3:
        answer["references"] = schemas.spoilt([_REFERENCE], rng)
    if rng.random() < 0.6:
        answer.pop("schemaType", None)
    return status, answer


def check_registry(seed: int, stub: StubRegistry) -> None:
    """Checks four random answers to one question each."""
    rng = random.Random(seed)
    url = stub.url.replace("//", f"//ann:{CANARY}@")
    client = RegistryClient(url, {"timeout": 5}, leave_out_tagged=rng.random() < 0.5)
    given: list[Answer] = []

    def fault(_path: str) -> Answer:
        given.append(_answer(rng))
        return given[-1]

    stub.fault = fault
    try:
        for ask in (
            lambda: client.latest("s"),
            lambda: client.is_compatible("s", "int"),
            lambda: client.register("s", 7),
        ):
            _asked(ask)
        given.clear()
        schema = _asked(lambda: client.schema(7))
        if schema is None:
            assert given[0][0] == 404
            assert isinstance(given[0][1], dict)
            assert given[0][1]["error_code"] == 40403
    except Exception as error:
        error.add_note(f"seed {seed} (set FUZZ_SEED to run it again): {given}")
        raise
    finally:
        client.close()


def _asked(ask: Any) -> object:  # noqa: ANN401 - any question
    """The answer, a schema used by a decoder; else the text that explains why there is none."""
    try:
        found = ask()
    except Exception as error:  # noqa: BLE001 - whatever the client's HTTP library raises is explained
        text = explained(error)
        judge_detail(text, names=True)
        assert CANARY not in text
        return text
    if found is None:
        return None
    decoder = Decoder(Mapping(client_user_id="id"))
    decoder.add(7, found)
    try:
        decoder.decode(record(framed(7, b"\0\0")))
    except Undecodable as problem:
        judge_detail(str(problem), names=True)
    return found


@contextmanager
def registry_checks() -> Iterator[Callable[[int], None]]:
    """Serves a registry. Yields the check of one seed."""
    with stub_registry() as stub:
        yield lambda seed: check_registry(seed, stub)


@pytest.mark.slow
def test_random_answers_are_schemas_or_explained() -> None:
    with registry_checks() as check:
        for seed in range(SEED, SEED + SEEDS):
            check(seed)

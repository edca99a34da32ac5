"""The names that this worker knows are those that the registry's client takes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import schema_registry

from worker.masking import is_secret
from worker.registry.known import KNOWN

SECRETS = {"basic.auth.user.info", "bearer.auth.client.secret", "bearer.auth.token", "ssl.key.password"}


def taken() -> Iterator[str]:
    """The names that the client's code takes out of its configuration."""
    package = Path(schema_registry.__file__).parent
    for path in (package / "_async" / "schema_registry_client.py", package / "common" / "_oauthbearer.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "pop":
                whose, name = node.func.value, node.args[0] if node.args else None
                if "conf" in ast.unparse(whose) and isinstance(name, ast.Constant):
                    yield str(name.value)


def test_every_property_is_known_and_no_other() -> None:
    assert set(taken()) == KNOWN


def test_all_of_them_that_hold_a_secret_are_masked() -> None:
    assert {name for name in KNOWN if is_secret(name)} == SECRETS

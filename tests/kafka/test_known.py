"""The names that this worker knows are those in librdkafka's own table."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import pytest

from worker.kafka.known import ALIASES, KNOWN, one_name
from worker.masking import is_secret

SECRETS = {
    "oauthbearer_token_refresh_cb",
    "sasl.kerberos.kinit.cmd",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "ssl_key",
}
"""Those that are masked. A client id is no secret, and nobody can set a callback, but their names hold such a part."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """The rows of CONFIGURATION.md, as the library that is installed writes them: name and description."""
    path = tmp_path_factory.mktemp("librdkafka") / "table.md"
    (library,) = Path(confluent_kafka.__file__).parent.parent.glob("confluent_kafka.libs/librdkafka*")
    standard = ctypes.CDLL(None)
    standard.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(standard.fopen(str(path).encode(), b"w"))
    ctypes.CDLL(str(library)).rd_kafka_conf_properties_show(file)
    standard.fclose(file)
    return list(_rows(path.read_text()))


def _rows(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, *cells = line.split("|")
        if cells and not name.startswith(("Property", "---")):
            yield name.strip(), "|".join(cells[4:]).strip()


def test_every_property_is_known_and_no_other(table: list[tuple[str, str]]) -> None:
    assert {name for name, _ in table} == KNOWN


def test_every_second_name_is_known(table: list[tuple[str, str]]) -> None:
    found = ((name, re.match(r"(\*\*DEPRECATED\*\* )?Alias for `([^`]+)`", text)) for name, text in table)
    assert {name: alias[2] for name, alias in found if alias} == ALIASES
    assert one_name("acks") == one_name("request.required.acks")


def test_all_of_them_that_hold_a_secret_are_masked() -> None:
    assert {name for name in KNOWN if is_secret(name)} == SECRETS

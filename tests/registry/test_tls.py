"""A registry behind TLS: its certificate from a private authority, and one that asks for the client's certificate."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attentive.certificates import Authority
from tests.support.stub_registry import StubRegistry, stub_registry
from worker.registry.client import RegistryClient, explained

SCHEMA = {"type": "record", "name": "Row", "fields": []}


@dataclass
class Guarded:
    """The registry, and the files of a client that it lets in."""

    stub: StubRegistry
    trust: Path
    certificate: Path


@pytest.fixture(params=[False, True], ids=["server", "mutual"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guarded]:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.trust())
    context.load_cert_chain(authority.certificate())
    context.verify_mode = ssl.CERT_REQUIRED if request.param else ssl.CERT_NONE
    with stub_registry(context) as stub:
        stub.hold(7, SCHEMA)
        yield Guarded(stub, authority.trust(), authority.certificate())


def asked(stub: StubRegistry, **properties: Path) -> object:
    """The schema, or why there is none, in words."""
    named = {name.replace("_", "."): str(path) for name, path in properties.items()}
    client = RegistryClient(stub.url, named)
    try:
        return client.schema(7)
    except Exception as error:  # noqa: BLE001 - whatever the HTTP library raises
        return explained(error)
    finally:
        client.close()


def test_files_of_the_properties_let_the_worker_in(guarded: Guarded) -> None:
    files = {"ssl_certificate_location": guarded.certificate, "ssl_key_location": guarded.certificate}
    assert asked(guarded.stub, ssl_ca_location=guarded.trust, **files) == SCHEMA


def test_a_certificate_of_an_unknown_authority_is_told_in_words(guarded: Guarded) -> None:
    assert "certificate verify failed" in str(asked(guarded.stub))
    assert guarded.stub.asked == []


@pytest.mark.parametrize("guarded", [True], ids=["mutual"], indirect=True)
def test_a_client_without_the_right_certificate_is_not_let_in(guarded: Guarded, tmp_path: Path) -> None:
    """The registry says why in an alert, but the client may notice first that the connection is gone."""
    stranger = Authority(tmp_path, "foreign").certificate()
    for files in ({}, {"ssl_certificate_location": stranger, "ssl_key_location": stranger}):
        words = asked(guarded.stub, ssl_ca_location=guarded.trust, **files)
        assert re.search("alert|Broken pipe|reset by peer", str(words)), words
    assert guarded.stub.asked == []

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.attentive.calling import call, outcome, running
from tests.attentive.scripted import OK, Connection, answering, serving
from worker.core.model import Failure


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "worker test")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(secret + built.public_bytes(serialization.Encoding.PEM))
    return path


def test_certificates_are_verified_against_the_named_authority(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def script(connection: Connection) -> None:
        connection.socket = context.wrap_socket(connection.socket, server_side=True)
        with connection.socket:
            answering(OK)(connection)

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(script) as server:
        base_url = f"https://127.0.0.1:{server.port}/v1"
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with running(base_url) as senders:
            assert outcome(senders, call(timeout_seconds=5)).failure is Failure.CONNECT
        assert not server.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with running(base_url) as senders:
            assert [outcome(senders, call(number, timeout_seconds=5)).status for number in range(3)] == [200] * 3
        assert len(server.connections) == 2  # the refused one, and one for all three calls

"""An authority of the test's own and servers that speak TLS with its certificates."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.attentive.scripted import Connection, Script

DAY = dt.timedelta(days=1)


class Authority:
    """Signs certificates; `pem` is what a trust file holds."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = _named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        signed = _signed(self._name, self._name, self._key.public_key(), self._key, (), (-DAY, DAY))
        self.pem = signed.public_bytes(serialization.Encoding.PEM)

    def trust(self, name: str = "trust.pem") -> Path:
        """A file with this authority alone."""
        path = self._folder / name
        path.write_bytes(self.pem)
        return path

    def certificate(
        self, names: Sequence[str] = ("127.0.0.1",), valid: tuple[dt.timedelta, dt.timedelta] = (-DAY, DAY)
    ) -> Path:
        """A file with a key and its certificate for `names`, valid from and to the offsets from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _signed(_named("leaf"), self._name, key.public_key(), self._key, names, valid)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._folder / f"{leaf.serial_number}.pem"
        path.write_bytes(secret + leaf.public_bytes(serialization.Encoding.PEM))
        return path

    def serves(
        self,
        script: Script,
        names: Sequence[str] = ("127.0.0.1",),
        valid: tuple[dt.timedelta, dt.timedelta] = (-DAY, DAY),
    ) -> Script:
        """The script inside TLS, with such a certificate."""
        path = self.certificate(names, valid)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)

        def serve(connection: Connection) -> None:
            connection.socket = context.wrap_socket(connection.socket, server_side=True)
            with connection.socket:
                script(connection)

        return serve


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    valid: tuple[dt.timedelta, dt.timedelta],
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid[0])
        .not_valid_after(now + valid[1])
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    else:
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(signer, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

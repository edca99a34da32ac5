"""A real Kafka with listeners that speak TLS: one asks for a password (SCRAM), the other for a client's certificate."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from tests.support.brokers import LocalBroker

SCRAM, MUTUAL = "SCRAM", "MUTUAL"

_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_ITERATIONS = 4096


class SecuredBroker(LocalBroker):
    """Its listeners `SCRAM` and `MUTUAL` are to be had by `address`; tests themselves use the plain one.

    Args:
        directory: an empty folder.
        store: a file with the broker's key and certificate.
        trust: a file with the authority of its clients' certificates.
    """

    def __init__(self, directory: Path, store: Path, trust: Path) -> None:
        properties = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(trust),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": _MODULE,
        }
        super().__init__(directory, properties, {SCRAM: "SASL_SSL", MUTUAL: "SSL"})

    def add_user(self, name: str, password: str) -> None:
        """Let a user in by the listener `SCRAM`."""
        how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        credentials = UserScramCredentialUpsertion(name, how, password.encode())
        for answer in self.admin.alter_user_scram_credentials([credentials]).values():
            answer.result(30)

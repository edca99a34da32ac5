"""A real Kafka with listeners that speak TLS: one asks for a password (SCRAM), the other for a client's certificate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from tests.support.brokers import LocalBroker

SCRAM, MUTUAL = "SCRAM", "MUTUAL"
USER, PASSWORD = "worker", "planted-broker-password"

_PROTOCOLS = {SCRAM: "SASL_SSL", MUTUAL: "SSL"}

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


@dataclass(frozen=True)
class Secured:
    """The broker, and a client's properties: those that it lets in, and those of strangers."""

    broker: SecuredBroker
    trust: Path
    certificate: Path
    foreign_trust: Path
    foreign_certificate: Path

    def properties(self, listener: str) -> dict[str, str]:
        """With these, the listener lets the worker in."""
        tls = {"security.protocol": _PROTOCOLS[listener], "ssl.ca.location": str(self.trust)}
        if listener == MUTUAL:
            return tls | self.shown(self.certificate)
        return tls | {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": USER, "sasl.password": PASSWORD}

    def shown(self, certificate: Path) -> dict[str, str]:
        return {"ssl.certificate.location": str(certificate), "ssl.key.location": str(certificate)}

    def environment(self, listener: str, properties: Mapping[str, str]) -> dict[str, str]:
        return {
            "WORKER_KAFKA__BOOTSTRAP_SERVERS": self.broker.address(listener),
            "WORKER_KAFKA__PROPERTIES": json.dumps(properties),
        }

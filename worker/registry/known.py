"""The properties that confluent-kafka's registry client knows. A test keeps it true."""

from __future__ import annotations

from typing import Final

KNOWN: Final = frozenset(
    {
        "basic.auth.user.info",
        "bearer.auth.client.id",
        "bearer.auth.client.secret",
        "bearer.auth.credentials.source",
        "bearer.auth.custom.provider.config",
        "bearer.auth.custom.provider.function",
        "bearer.auth.identity.pool.id",
        "bearer.auth.issuer.endpoint.query",
        "bearer.auth.issuer.endpoint.url",
        "bearer.auth.logical.cluster",
        "bearer.auth.scope",
        "bearer.auth.token",
        "cache.capacity",
        "cache.latest.ttl.sec",
        "max.retries",
        "proxy",
        "retries.max.wait.ms",
        "retries.wait.ms",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "timeout",
        "url",
    }
)

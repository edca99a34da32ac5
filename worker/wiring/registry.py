"""Builds what asks the schema registry.

Imported only where one is set: its client and what that stands on take longer to load than all of the settings.
"""

from __future__ import annotations

from worker.registry.client import RegistryClient
from worker.registry.registry import RegistrySchemas
from worker.settings.model import Settings


def source(settings: Settings) -> RegistrySchemas:
    """The source of schemas that asks the registry; errors as `RegistrySchemas`."""
    chosen = settings.schemas
    return RegistrySchemas(
        chosen.registry_url or "",
        chosen.registry_properties,
        dead_letter_topic=settings.kafka.dead_letter_topic,
        receipt_topic=settings.receipts.topic,
        unknown_id_seconds=chosen.unknown_id_seconds,
        leave_out_tagged=chosen.read_rules == "leave_out",
    )


def client(settings: Settings) -> RegistryClient:
    """A client for single questions to the schema registry; errors as `RegistryClient`."""
    chosen = settings.schemas
    leave_out = chosen.read_rules == "leave_out"
    return RegistryClient(chosen.registry_url or "", chosen.registry_properties, leave_out_tagged=leave_out)

"""By what name brokers know a replica. `tests/end_to_end/test_rewind.py` asks real ones."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest

from worker.kafka.properties import (
    Properties,
    admin_properties,
    client_id,
    consumer_properties,
    producer_properties,
)


@pytest.mark.parametrize("completed", [consumer_properties, producer_properties, admin_properties])
def test_all_clients_of_a_replica_have_its_name_unless_the_user_gives_one(
    completed: Callable[[Properties], dict[str, str]],
) -> None:
    assert completed({})["client.id"] == f"attribute-worker-{socket.gethostname()}"
    assert completed({"client.id": "crm"})["client.id"] == "crm"


@pytest.mark.parametrize("host", ['a"b', "a\\b", "a b", "\u00e4"])
def test_a_strange_host_spoils_no_statistics(host: str) -> None:
    name = client_id(host)
    assert json.loads(f'{{"client_id": "{name}"}}') == {"client_id": name}
    assert name.isascii()
    assert " " not in name

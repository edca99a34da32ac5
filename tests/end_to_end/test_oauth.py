"""A broker that asks for OAUTHBEARER tokens: the whole job with a function that fails for a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support.brokers import LocalBroker
from tests.support.processes import until
from tests.support.profiles import changes

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 20_261_130
_MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
FUNCTION = """
import base64, json, pathlib, time

def _part(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

def give(config):
    mood = pathlib.Path(config).read_text()
    if mood == "raise":
        raise ValueError("planted-secret")
    now = time.time()
    claims = {"sub": "worker", "iat": now - 1, "exp": now + 900}
    return f'{_part({"alg": "none"})}.{_part(claims)}.', now + 900
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    properties = {
        "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.oauth.oauthbearer.sasl.jaas.config": f'{_MODULE} unsecuredLoginStringClaim_sub="broker";',
        "listener.name.oauth.oauthbearer.sasl.server.callback.handler.class": (
            "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
        ),
    }
    broker = LocalBroker(tmp_path_factory.mktemp("oauth"), properties, {"OAUTH": "SASL_PLAINTEXT"})
    broker.start()
    yield broker
    broker.stop()


def test_a_function_that_fails_at_first_is_told_and_called_again(broker: LocalBroker, tmp_path: Path) -> None:
    lab = Lab(broker, tmp_path)
    try:
        made = list(changes(SEED, events=50, users=10))
        broker.create_topic(lab.topic, 3)
        lab.produce(made)
        sandbox = lab.sandbox()
        (tmp_path / "tokens_of_the_test.py").write_text(FUNCTION)
        mood = tmp_path / "mood"
        mood.write_text("raise")
        properties = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.config": str(mood),
        }
        worker = lab.worker(
            sandbox.base_url,
            {
                "PYTHONPATH": str(tmp_path),
                "WORKER_KAFKA__BOOTSTRAP_SERVERS": broker.address("OAUTH"),
                "WORKER_KAFKA__PROPERTIES": json.dumps(properties),
                "WORKER_KAFKA__OAUTH": "tokens_of_the_test:give",
            },
        )
        until(lambda: worker.events("no_kafka_token"), 40, "the line about the token")
        assert not worker.ended
        mood.write_text("well")
        lab.until_committed(90)
        assert_equivalent(sandbox, made)
        assert worker.stop() == 0
        assert "planted-secret" not in worker.log.read_text()
    finally:
        lab.end()

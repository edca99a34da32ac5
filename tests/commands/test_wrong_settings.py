"""What a command says of settings with a secret where none belongs: what is wrong and where, and never the secret."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from tests.support.planted import Search
from worker.cli import group

TOKEN, PASSWORD = "api/planted+8831==", "kafka/planted 5512"
LOGIN = quote(f"me:{PASSWORD}", safe=":")
GOOD = {
    "WORKER_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
    "WORKER_SCHEMAS__REGISTRY_URL": "http://registry:8081",
    "WORKER_ATTENTIVE__TOKEN": TOKEN,
}


def kafka(properties: object) -> dict[str, str]:
    return {"WORKER_KAFKA__PROPERTIES": json.dumps(properties)}


VARIABLES: dict[str, Mapping[str, str]] = {
    "a URL with a password": {"WORKER_ATTENTIVE__BASE_URL": f"https://{LOGIN}@host/v1"},
    "a URL with the token in its query": {"WORKER_ATTENTIVE__BASE_URL": f"https://host/v1?token={TOKEN}"},
    "the token for a URL": {"WORKER_ATTENTIVE__BASE_URL": TOKEN},
    "the token where the path of its file belongs": {
        "WORKER_ATTENTIVE__TOKEN": "",
        "WORKER_ATTENTIVE__TOKEN_FILE": TOKEN,
    },
    "a short token where the path of its file belongs": {
        "WORKER_ATTENTIVE__TOKEN": "",
        "WORKER_ATTENTIVE__TOKEN_FILE": TOKEN.replace("/", ""),
    },
    "a token with a space": {"WORKER_ATTENTIVE__TOKEN": f"{TOKEN} {TOKEN}"},
    "a mistyped variable": {"WORKER_ATTENTIVE__TOKN": TOKEN},
    "a number": {"WORKER_WINDOW__SECONDS": TOKEN},
    "a choice": {"WORKER_LOG__LEVEL": TOKEN},
    "a host": {"WORKER_HTTP__HOST": f"{TOKEN}..{TOKEN}"},
    "a registry's URL with a password": {"WORKER_SCHEMAS__REGISTRY_URL": f"http://{LOGIN}@host"},
    "a registry's properties that are no JSON": {"WORKER_SCHEMAS__REGISTRY_PROPERTIES": PASSWORD},
    "brokers with a password": {"WORKER_KAFKA__BOOTSTRAP_SERVERS": f"{LOGIN}@host:9092"},
    "properties that are no JSON": {"WORKER_KAFKA__PROPERTIES": f'{{"sasl.password": "{PASSWORD}"'},
    "properties within a property": kafka({"sasl": {"password": PASSWORD}}),
    "a mistyped property": kafka({"sasl.pasword": PASSWORD}),
    "a property of Java's client": kafka({"sasl.jaas.config": f'Module required password="{PASSWORD}";'}),
    "a password for a mechanism": kafka({"security.protocol": "SASL_SSL", "sasl.mechanism": PASSWORD}),
    "a password for a protocol": kafka({"security.protocol": PASSWORD}),
    "a password for a number": kafka({"session.timeout.ms": PASSWORD}),
    "a key that is none": kafka({"security.protocol": "SSL", "ssl.key.pem": PASSWORD}),
}
FILES = {
    "a token that reads as an alias": f"attentive:\n  token: *{TOKEN}\n",
    "a mistyped key": f"attentive:\n  tokn: {TOKEN}\n",
    "a token for a section": f"attentive: {TOKEN}\n",
    "a token in a list": f"attentive:\n  token: [{TOKEN}]\n",
    "a token with a tag": f"attentive:\n  token: !{TOKEN}\n",
    "properties as text": f"kafka:\n  properties: sasl.password={PASSWORD}\n",
    "a quote that does not end": f'attentive:\n  token: "{TOKEN}\n',
    "a key that is given twice": f"attentive:\n  token: {TOKEN}\n  token: {TOKEN}\n",
}
FLAGS = {
    "the token": ["--attentive-token", TOKEN],
    "the token after =": [f"--attentive-token={TOKEN}"],
    "a password": ["--kafka-properties", json.dumps({"sasl.password": PASSWORD})],
    "a URL with a password": ["--schemas-registry-url", f"http://{LOGIN}@host"],
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("WORKER_")]:
        monkeypatch.delenv(variable)


def refused(*arguments: str, environ: Mapping[str, str]) -> Result:
    done = CliRunner().invoke(group, ["config", *arguments], env=dict(environ), prog_name="attribute-worker")
    search = Search({"token": TOKEN, "its end": TOKEN.partition("/")[2], "password": PASSWORD})
    search.look("output", done.output)
    assert search.found == set(), done.output
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return done


@pytest.mark.parametrize("name", VARIABLES)
def test_in_the_environment(name: str) -> None:
    refused(environ={**GOOD, **VARIABLES[name]})


@pytest.mark.parametrize("name", FILES)
def test_in_the_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "worker.yaml").write_text(FILES[name])
    environ = {variable: text for variable, text in GOOD.items() if variable != "WORKER_ATTENTIVE__TOKEN"}
    done = refused("--config", str(tmp_path / "worker.yaml"), environ=environ)
    assert "worker.yaml:" in done.output


@pytest.mark.parametrize("name", FLAGS)
def test_in_a_flag(name: str) -> None:
    refused(*FLAGS[name], environ=GOOD)

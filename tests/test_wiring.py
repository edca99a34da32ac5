"""Settings that are valid one by one, but make no worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from worker.settings.load import load
from worker.wiring import parts
from worker.wiring.parts import Unusable
from worker.wiring.worker import worker

MINIMAL = {
    "WORKER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "WORKER_SCHEMAS__REGISTRY_URL": "http://127.0.0.1:1",
    "WORKER_ATTENTIVE__TOKEN": "tk",
}


def refusal(changes: dict[str, str]) -> str:
    settings = load(None, {}, MINIMAL | changes).settings
    with pytest.raises(Unusable) as caught:
        worker(settings, parts.identity(settings), structlog.get_logger())
    return str(caught.value)


@pytest.mark.parametrize("depth", [200, 900, 100_000])
def test_a_schema_file_that_is_nested_too_deep_is_refused(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "deep.avsc"
    path.write_text('{"type": "array", "items": ' * depth + '"int"' + "}" * depth)
    assert "deep" in refusal({"WORKER_SCHEMAS__READER_SCHEMA": str(path)})


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"basic.auth.user.info": "hunter2"}, "basic.auth.user.info must be in the form"),
        ({"timeout": "nan"}, "timeout: must be a number above 0"),
        ({"timeout": "-1"}, "timeout: must be a number above 0"),
    ],
)
def test_registry_settings_are_refused_at_the_start_not_once_the_topics_exist(
    properties: dict[str, str], text: str
) -> None:
    told = refusal({"WORKER_SCHEMAS__REGISTRY_PROPERTIES": json.dumps(properties)})
    assert text in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("name", "content"), [("7.avsc", "{"), ("3000000000.avsc", '"string"'), ("mine.avsc", '"int"')]
)
def test_a_schema_folder_is_refused_at_the_start_not_once_the_topics_exist(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    settings = {"WORKER_SCHEMAS__REGISTRY_URL": "", "WORKER_SCHEMAS__DIRECTORY": str(tmp_path)}
    assert name in refusal(settings)


def test_a_proxy_that_is_no_url_is_refused_for_the_registry_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://bob:hunter2@[::1")
    told = refusal({"WORKER_ATTENTIVE__BASE_URL": "http://127.0.0.1:1/v1"})
    assert "HTTP_PROXY" in told
    assert "hunter2" not in told

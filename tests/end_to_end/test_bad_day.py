"""Every command of docs/bad-day.md, run in the situation that it is written for, on a real Kafka and a sandbox."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import click
import httpx
import pytest

from tests.end_to_end.conftest import Lab
from tests.rules.test_bad_day import DAYS, MENDING
from tests.support.brokers import RunningBroker
from tests.support.processes import TOKEN, Command, SandboxCommand, until
from tests.support.producers import ordered_producer
from tests.support.profiles import Change, encode, phone
from worker.cli import group

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

USERS = 20
_AGE_MS = 3_600_000  # verify does not judge young changes
_BLOCK: Final = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_INLINE: Final = re.compile(r"`((?:WORKER_\w+=\S+ )?attribute-worker [a-z][^`]*)`")


class Town(NamedTuple):
    """A topic with traffic that a worker has delivered, and what became of it."""

    lab: Lab
    sandboxes: list[SandboxCommand]

    @property
    def sandbox(self) -> SandboxCommand:
        """The destination: always at the same address."""
        return self.sandboxes[-1]

    def set(self, user: int, attributes: Mapping[str, object]) -> None:
        """What somebody else writes into the destination."""
        body = json.dumps({"user": {"phone": phone(user)}, "properties": attributes})
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        url = f"{self.sandbox.base_url}/attributes/custom"
        assert httpx.post(url, content=body, headers=headers).status_code == 200

    def run(self, line: str) -> Command:
        """A command of the page, with the names of this town in place of the page's."""
        words = shlex.split(self._here(line), comments=True)
        variables = dict(word.split("=", 1) for word in words if re.match(r"WORKER_\w+=", word))
        words = words[len(variables) :]
        assert words.pop(0) == "attribute-worker"
        environment = self.lab.environment(self.sandbox.base_url, variables)
        if "WORKER_ATTENTIVE__TOKEN_FILE" in variables:
            del environment["WORKER_ATTENTIVE__TOKEN"]
        return self.lab.command(*words, environment=environment)

    def _here(self, line: str) -> str:
        now = time.time()
        line = line.replace("profile-changes", self.lab.topic).replace("2026-03-01T12:00", iso(now - 7_200))
        line = line.replace("2026-03-03T09:30", iso(now - 60)).replace("new-key", str(self.key))
        for number in range(1, 4):
            line = line.replace(f"+1555123000{number}", phone(number))
        return line.replace("show 3f9a", f"show {self.letter}") if "show 3f9a" in line else line

    @property
    def key(self) -> Path:
        """A file with a token."""
        file = self.lab.schemas.parent / "new-key"
        file.write_text(TOKEN)
        return file

    @property
    def letter(self) -> str:
        """The id of an open letter."""
        listed = self.run("attribute-worker dead-letters list --json --all").output.read_text().splitlines()
        return str(json.loads(listed[0])["id"])


def iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


def traffic() -> list[Change]:
    stores = ("East", "West", "South", "North")
    made = [
        Change(phone(user), {"loyalty_points": 100 * turn + user, "favourite_store": stores[turn]}, 100 * turn + user)
        for turn in range(4)
        for user in range(USERS)
    ]
    made += [Change(phone(user), {"tier": "Platinum"}, 1_000 + user) for user in range(4, 8)]
    return made + [Change(phone(user), {"password": "x"}, 2_000 + user) for user in range(8, 11)]


@pytest.fixture(scope="module")
def town(real_kafka: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    directory = tmp_path_factory.mktemp("town")
    lab = Lab(real_kafka, directory)
    lab.broker.create_topic(lab.topic, 3)
    producer = ordered_producer(lab.broker.bootstrap_servers)
    sent_ms = int(time.time() * 1000) - _AGE_MS
    for change in traffic():
        producer.produce(lab.topic, encode(change), change.phone.encode(), timestamp=sent_ms + change.number)
    assert producer.flush(30) == 0
    enumerations = directory / "enumerations.json"
    enumerations.write_text(json.dumps({"tier": ["Gold", "Silver"]}))
    sandbox = lab.sandbox("--limit", "0", "--enumerations", str(enumerations))
    worker = lab.worker(sandbox.base_url)
    lab.until_committed(90)
    until(lambda: len(lab.dead_letters()) == 7, 60, "the dead letters")
    assert worker.stop() == 0
    yield Town(lab, [sandbox])
    lab.end()


def nothing(_: Town) -> None:
    """No preparation is needed."""


def wrong_store(town: Town) -> None:
    town.set(1, {"favourite_store": "South"})


def wrong_points(town: Town) -> None:
    for user in range(USERS):
        town.set(user, {"loyalty_points": -1})


def extended(town: Town) -> None:
    """The enumeration gets its value: another sandbox takes the place of the one that lacked it."""
    town.sandbox.stop()
    more = town.lab.schemas.parent / "more.json"
    more.write_text(json.dumps({"tier": ["Gold", "Silver", "Platinum"]}))
    port = str(httpx.URL(town.sandbox.root).port)
    town.sandboxes.append(town.lab.sandbox("--port", port, "--limit", "0", "--enumerations", str(more)))


def whole(town: Town) -> None:
    """The destination holds all that the topic says."""
    extended(town)
    for user in range(USERS):
        town.set(user, {"loyalty_points": 300 + user, "favourite_store": "North"})
    for user in range(4, 8):
        town.set(user, {"tier": "Platinum"})


def gone(town: Town) -> None:
    """The sandbox's state is lost, and everybody else's is sent again."""
    httpx.post(f"{town.sandbox.root}/_sandbox/reset").raise_for_status()
    for user in range(USERS):
        if user not in {2, 3}:
            town.set(user, {"loyalty_points": 300 + user, "favourite_store": "North"})


class Scene(NamedTuple):
    """How a day begins, and what is mended between its two parts."""

    begin: Callable[[Town], None] = nothing
    mend: Callable[[Town], None] = nothing


SCENES: Mapping[str, Scene] = {
    "Values are wrong for some users": Scene(wrong_store),
    "A mapping had a bug for two days": Scene(wrong_points),
    "An enumeration lacked a value": Scene(mend=extended),
    "The token lost its scope overnight": Scene(whole),
    "Somebody deleted values in Attentive": Scene(gone),
}


def is_there(line: str) -> bool:
    """Whether this version has the command and its options."""
    words = [word for word in shlex.split(line, comments=True) if not word.startswith("WORKER_")][1:]
    context: click.Context = click.Context(group)
    command: click.Command | None = group
    while isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0))
    known = {option for parameter in command.params for option in parameter.opts} if command else set()
    return {word for word in words if word.startswith("--")} <= known


def commands(section: str) -> list[str]:
    return [line for block in _BLOCK.findall(section) for line in block.strip().splitlines()]


def shape(text: str) -> str:
    """A text without its numbers, names and places."""
    text = re.sub(r"profiles-[0-9a-f]{12}|profile-changes", "TOPIC", text)
    return re.sub(r"\s+", " ", re.sub(r"\d[\d,.]*", "N", text)).strip()


@pytest.mark.parametrize("day", MENDING)
def test_the_commands_of_a_day_say_and_do_what_the_page_says(town: Town, day: str) -> None:
    section, scene = DAYS[day], SCENES.get(day, Scene())
    first, _, then = section.partition("**It says.**")
    missing = [line for line in commands(section) if not is_there(line)]
    if missing:
        pytest.skip(f"not in this version: {missing[0]}")
    scene.begin(town)
    said = ""
    for line in commands(first):
        done = town.run(line)
        assert done.wait() in {0, 1}, done.log.read_text()
        said += done.output.read_text() + done.log.read_text()
    (promised,) = re.findall(r"```text\n(.*?)```", then, re.DOTALL)
    told = [shape(line) for line in said.splitlines()]
    for line in promised.strip().splitlines():
        assert shape(line) in told, said
    scene.mend(town)
    for line in commands(then):
        done = town.run(line)
        assert done.wait() == 0, done.log.read_text()


@pytest.mark.parametrize("day", [day for day in DAYS if day not in MENDING])
def test_the_commands_in_the_text_are_ones_that_run(town: Town, day: str) -> None:
    for line in dict.fromkeys(_INLINE.findall(DAYS[day])):
        done = town.run(line)
        assert done.wait() in {0, 1}, done.log.read_text()

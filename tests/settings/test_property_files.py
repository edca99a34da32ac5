"""Properties from files: what they may hold, how they join those of the settings, and what the messages never say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.settings.test_load import MINIMAL, loaded, problems, yaml_file
from worker.cli import group
from worker.settings.property_files import BYTES_MAX

SECRET = "hunter2-Zq"
CLIENTS = {
    # the prefix of the settings' variables: where the properties are, a secret one, and others with a value of the last
    "WORKER_KAFKA__": ("kafka.properties", "sasl.password", "sasl.username", "client.rack", "zone-1"),
    "WORKER_SCHEMAS__REGISTRY_": (
        "schemas.registry_properties",
        "basic.auth.user.info",
        "ssl.key.location",
        "ssl.ca.location",
        "/ca.pem",
    ),
}


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def kafka(environ: Mapping[str, str]) -> Mapping[str, str]:
    return loaded(environ).settings.kafka.properties


@pytest.mark.parametrize("prefix", CLIENTS)
def test_properties_join_from_all_three_places_and_each_names_its_own(tmp_path: Path, prefix: str) -> None:
    path, secret, other, plain, value = CLIENTS[prefix]
    password = written(tmp_path, "password", f"{SECRET}\n")
    file = written(tmp_path, "client.properties", f"# ours\n\n{other} = x\n")
    result = loaded(
        {
            f"{prefix}PROPERTIES": json.dumps({plain: value}),
            f"{prefix}PROPERTIES_FILE": file,
            f"{prefix}PROPERTY_FILES": json.dumps({secret: password}),
        }
    )
    settings = result.settings
    held = {"kafka.properties": settings.kafka.properties}
    held["schemas.registry_properties"] = settings.schemas.registry_properties
    assert held[path] == {plain: value, other: "x", secret: SECRET}
    variable = f"environment variable {prefix}PROPERTIES"
    assert result.property_sources[path] == {plain: variable, other: f"{file}:3", secret: password}
    assert result.sources[path] == f"{variable}, {variable}_FILE, {variable.removesuffix('IES')}Y_FILES"


def test_the_yaml_file_takes_the_same_settings(tmp_path: Path) -> None:
    password = written(tmp_path, "password", SECRET)
    file = yaml_file(tmp_path, f"kafka:\n  property_files:\n    sasl.password: {password}\n")
    result = loaded(file=file)
    assert result.settings.kafka.properties == {"sasl.password": SECRET}
    assert result.sources["kafka.properties"] == f"{file}:2: kafka.property_files"


def test_flags_take_paths_since_a_path_is_no_secret(tmp_path: Path) -> None:
    files = json.dumps({"sasl.password": written(tmp_path, "password", SECRET)})
    assert loaded(kafka__property_files=files).settings.kafka.properties == {"sasl.password": SECRET}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("word", "word"),
        ("word\n", "word"),
        ("word\r\n", "word"),
        ("word\n\n", "word\n"),
        (" two words\t", " two words\t"),
        ('a"b\\c$d{e}=#', 'a"b\\c$d{e}=#'),
        ("pässword😀", "pässword😀"),
        (b"\xef\xbb\xbfword", "word"),
        ("first\nsecond\n", "first\nsecond"),
    ],
)
def test_a_file_of_one_value_is_taken_as_it_is_but_for_one_line_end(tmp_path: Path, content: str, value: str) -> None:
    files = json.dumps({"sasl.password": written(tmp_path, "password", content)})
    assert kafka({"WORKER_KAFKA__PROPERTY_FILES": files}) == {"sasl.password": value}


def test_a_rotated_secret_is_read_at_the_next_start(tmp_path: Path) -> None:
    """Kubernetes points a link at another folder."""
    for word in ("first", "second"):
        (tmp_path / word).mkdir()
        written(tmp_path / word, "password", word)
    link = tmp_path / "now"
    environ = {"WORKER_KAFKA__PROPERTY_FILES": json.dumps({"sasl.password": str(link / "password")})}
    link.symlink_to("first")
    assert kafka(environ) == {"sasl.password": "first"}
    link.unlink()
    link.symlink_to("second")
    assert kafka(environ) == {"sasl.password": "second"}


def missing(path: Path) -> None:
    """Makes nothing."""


def not_text(path: Path) -> None:
    path.write_bytes(b"sasl.password=\xff" + SECRET.encode())


def zeros(path: Path) -> None:
    path.write_bytes(f"sasl.password={SECRET}\0".encode())


def large(path: Path) -> None:
    path.write_text(f"sasl.password={SECRET}" + " " * BYTES_MAX)


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


_NOBODY = 65_534
UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (missing, "the file does not exist; mend the path"),
    "a directory": (Path.mkdir, "the file can't be read: is a directory"),
    "below a file": (below_a_file, "the file can't be read: not a directory"),
    "a loop": (lambda path: path.symlink_to(path), "the file can't be read: too many levels of symbolic links"),
    "a pipe": (os.mkfifo, "the file is not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "the file is not a regular file"),
    "empty": (Path.touch, "the file is empty; write"),
    "blank": (lambda path: path.write_text(" \n\n"), "the file is empty; write"),
    "not text": (not_text, "the file is not UTF-8 text"),
    "zeros": (zeros, "the file holds a NUL character"),
    "large": (large, f"the file is larger than {BYTES_MAX} bytes"),
}


@pytest.mark.parametrize("prefix", CLIENTS)
@pytest.mark.parametrize("how", UNUSABLE)
def test_a_file_that_cannot_be_used_is_a_problem_of_its_setting(tmp_path: Path, prefix: str, how: str) -> None:
    make, text = UNUSABLE[how]
    path = tmp_path / f"folder-{SECRET}" / "file"
    path.parent.mkdir()
    make(path)
    name = CLIENTS[prefix][1]
    files = {"PROPERTIES_FILE": (str(path), ""), "PROPERTY_FILES": (json.dumps({name: str(path)}), f"{name}: ")}
    for setting, (value, about) in files.items():
        [problem] = problems({f"{prefix}{setting}": value})
        assert problem.startswith(f"environment variable {prefix}{setting}: {about}{text}")
        assert SECRET not in problem, "the path may be the secret itself"


def test_a_file_that_this_user_may_not_read_is_a_problem(tmp_path: Path) -> None:
    path = Path(written(tmp_path, "file", SECRET))
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # root may read every file
            os.seteuid(_NOBODY)
        [problem] = problems({"WORKER_KAFKA__PROPERTIES_FILE": str(path)})
    finally:
        os.seteuid(user)
    assert "can't be read: permission denied" in problem


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        ("# only\n! comments\n", None, "the file holds no property"),
        ("acks=all\nclient.rack=\\u00zz", 2, "has a \\u that is not followed"),
        ("client.rack=\\u0000", 1, "client.rack: holds a NUL character"),
        (SECRET, 1, "there is no property of this name"),
        (f"{SECRET}:{SECRET}", 1, "there is no property of this name"),
        (f"={SECRET}", 1, "there is no property of this name"),
        (f"\nsasl.pasword={SECRET}", 2, "there is no property of this name; did you mean sasl.password?"),
        (f"sasl.jaas.config={SECRET}", 1, "there is no property of this name; set sasl.username and sasl.password"),
        ("ssl.truststore.location=/x.jks", 1, "there is no property of this name; set ssl.ca.location to"),
        ("client.rack=a\n\nclient.rack=a", 3, "client.rack: is given in {file}:1 as well; keep one"),
        ("sasl.mechanism=PLAIN\nsasl.mechanisms=PLAIN", 2, "sasl.mechanisms: is given in {file}:1 as well by the name"),
        ("\nenable.auto.commit=true", 2, "enable.auto.commit: the worker commits an offset only when"),
        ("\n\nauto.commit.enable=true", 3, "auto.commit.enable: the worker commits an offset only when"),
        ("acks=all\nsession.timeout.ms=soon", 2, "session.timeout.ms: must be a whole number"),
        ("heartbeat.interval.ms=50000", 1, "heartbeat.interval.ms: must be below session.timeout.ms"),
        ("acks=all\nmax.poll.interval.ms=1000\nsession.timeout.ms=2000", 3, "session.timeout.ms: must not be above"),
        (f"\ncompression.codec={SECRET}", 2, 'Invalid value given for configuration property "compression.codec"'),
        (f"acks=all\nsasl.mechanism={SECRET} x", 2, 'Invalid value for configuration property "sasl.mechanisms"'),
        (f"security.protocol=ssl\nssl.ca.location={SECRET}", 2, "Failed to create consumer: ssl.ca.location failed"),
    ],
)
def test_a_problem_in_a_file_names_its_line_and_repeats_no_value(
    tmp_path: Path, content: str, line: int | None, text: str
) -> None:
    file = written(tmp_path, "client.properties", content)
    found = problems({"WORKER_KAFKA__PROPERTIES_FILE": file})
    where = f"{file}:{line}: " if line else "environment variable WORKER_KAFKA__PROPERTIES_FILE: "
    assert [problem for problem in found if problem.startswith(where + text.format(file=file))], found
    assert SECRET not in "".join(found)


def test_what_is_refused_is_refused_from_a_file_of_one_value_too(tmp_path: Path) -> None:
    file = written(tmp_path, "group", "mine\n")
    [problem] = problems({"WORKER_KAFKA__PROPERTY_FILES": json.dumps({"group.id": file})})
    assert problem == f"{file}: group.id: set WORKER_KAFKA__GROUP_ID instead"
    [problem] = problems({"WORKER_SCHEMAS__REGISTRY_PROPERTY_FILES": json.dumps({"url": file})})
    assert problem == f"{file}: url: set WORKER_SCHEMAS__REGISTRY_URL instead"
    [problem] = problems({"WORKER_KAFKA__PROPERTY_FILES": json.dumps({"sasl.pasword": file})})
    assert problem == f'{file}: No such configuration property: "sasl.pasword"'


def test_a_property_in_two_places_is_a_problem_that_names_both(tmp_path: Path) -> None:
    password = written(tmp_path, "password", SECRET)
    file = written(tmp_path, "client.properties", f"sasl.password={SECRET}")
    inline = {"WORKER_KAFKA__PROPERTIES": json.dumps({"sasl.password": SECRET})}
    whole = {"WORKER_KAFKA__PROPERTIES_FILE": file}
    single = {"WORKER_KAFKA__PROPERTY_FILES": json.dumps({"sasl.password": password})}
    variable = "environment variable WORKER_KAFKA__PROPERTIES"
    assert problems(inline | whole) == [f"{file}:1: sasl.password: is given in {variable} as well; keep one"]
    assert problems(inline | single) == [f"{password}: sasl.password: is given in {variable} as well; keep one"]
    assert problems(whole | single) == [f"{password}: sasl.password: is given in {file}:1 as well; keep one"]


def test_a_problem_with_a_file_causes_no_second_one(tmp_path: Path) -> None:
    """What the file would have said is not known, so nothing is compared with it."""
    environ = {"WORKER_SHUTDOWN__DRAIN_SECONDS": "400", "WORKER_KAFKA__PROPERTIES_FILE": str(tmp_path / "none")}
    assert len(problems(environ)) == 1


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, "client.properties", "key.deserializer=x\nvalue.deserializer=y\n")
    files = json.dumps({"sasl.password": str(tmp_path / "none"), "ssl.key.pem": str(tmp_path)})
    assert len(problems({"WORKER_KAFKA__PROPERTIES_FILE": file, "WORKER_KAFKA__PROPERTY_FILES": files})) == 4


@pytest.mark.parametrize("value", ['{"sasl.password": ""}', '{"": "/x"}', '{"sasl.password": null}', f'["{SECRET}"]'])
def test_a_mapping_without_a_name_or_a_path_is_refused(value: str) -> None:
    [problem] = problems({"WORKER_KAFKA__PROPERTY_FILES": value})
    assert problem.startswith("environment variable WORKER_KAFKA__PROPERTY_FILES: ")
    assert SECRET not in problem


def config(environ: Mapping[str, str], *arguments: str) -> Result:
    unset = dict.fromkeys(name for name in os.environ if name.startswith("WORKER_"))
    return CliRunner().invoke(group, ["config", *arguments], env={**unset, **MINIMAL, **environ})


def test_config_shows_each_property_masked_and_its_place(tmp_path: Path) -> None:
    file = written(tmp_path, "client.properties", f"client.rack=zone-1\nssl.key.password={SECRET}\n")
    password = written(tmp_path, "password", SECRET)
    environ = {
        "WORKER_KAFKA__PROPERTIES_FILE": file,
        "WORKER_KAFKA__PROPERTY_FILES": json.dumps({"sasl.password": password}),
    }
    done = config(environ)
    assert done.exit_code == 0, done.stderr
    shown = {line.split("=")[0].strip(): line.split("=", 1)[1].split() for line in done.stdout.splitlines()}
    assert shown["kafka.properties: client.rack"] == ["zone-1", "#", f"{file}:1"]
    assert shown["kafka.properties: ssl.key.password"] == ["********", "#", f"{file}:2"]
    assert shown["kafka.properties: sasl.password"] == ["********", "#", password]
    assert "kafka.properties" not in shown
    report = json.loads(config(environ, "--json").stdout)["kafka.properties"]
    assert report["value"] == {"client.rack": "zone-1", "ssl.key.password": "********", "sasl.password": "********"}
    assert report["sources"] == {
        "client.rack": f"{file}:1",
        "ssl.key.password": f"{file}:2",
        "sasl.password": password,
    }
    assert SECRET not in done.stdout + done.stderr


def test_a_pipe_ends_the_command_at_once_with_status_2(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = config({"WORKER_KAFKA__PROPERTIES_FILE": str(tmp_path / "pipe")})
    assert done.exit_code == 2
    assert done.stderr.splitlines()[1:] == [
        "  environment variable WORKER_KAFKA__PROPERTIES_FILE: the file is not a regular file; mend the path"
    ]

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.attentive.token import BYTES_MAX, Token


def swap(folder: Path, version: str, content: str) -> None:
    """Changes a mounted secret as Kubernetes does: a link to the version's folder is replaced at once."""
    (folder / version).mkdir()
    (folder / version / "token").write_text(content)
    (folder / "..new").symlink_to(version)
    (folder / "..new").replace(folder / "..data")


def test_given_token_is_stripped() -> None:
    token = Token.given(" abc\n")
    assert (token.value(), token.problem, token.reload()) == ("abc", None, False)


def test_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("\ufefffirst\r\n", encoding="utf-8")
    token = Token.from_file(path)
    assert token.value() == "first"
    path.write_text("later")
    assert token.value() == "later"


def test_secret_that_kubernetes_swaps(tmp_path: Path) -> None:
    """The new content has the length and the time of the old one: only the link's target differs."""
    swap(tmp_path, "v1", "token-1")
    (tmp_path / "token").symlink_to("..data/token")
    token = Token.from_file(tmp_path / "token")
    assert token.value() == "token-1"
    swap(tmp_path, "v2", "token-2")
    times = (tmp_path / "v1" / "token").stat()
    os.utime(tmp_path / "v2" / "token", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert token.value() == "token-2"


def test_reload_says_whether_the_token_is_another(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("same")
    token = Token.from_file(path)
    assert not token.reload()
    path.write_text("same\n")
    assert not token.reload()
    path.write_text("other")
    assert token.reload()
    path.unlink()
    assert token.reload()
    assert not token.reload()


def test_missing_file_may_appear_and_vanish(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = Token.from_file(path)
    assert token.value() is None
    assert token.problem == f"token file {path}: No such file or directory"
    path.write_text("abc")
    assert token.value() == "abc"
    path.unlink()
    assert token.value() is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"secret\nsecret", "cannot carry"),
        (b"secret secret", "cannot carry"),
        ("secrèt".encode(), "cannot carry"),
        (b"secret\x00", "cannot carry"),
        (b"secret\xff", "cannot carry"),
        (b"secret" * BYTES_MAX, "larger than"),
    ],
    ids=range(8),
)
def test_what_is_no_token_is_a_problem_that_does_not_show_it(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    token = Token.from_file(path)
    assert token.value() is None
    assert token.problem is not None
    assert reason in token.problem
    assert str(path) in token.problem
    assert "secr" not in token.problem + repr(token)


def test_named_pipe_and_folder_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        token = Token.from_file(path)
        assert token.value() is None
        assert token.problem == f"token file {path}: not a regular file"


def test_given_token_that_no_header_can_carry() -> None:
    token = Token.given("secret\r\nX-Evil: 1")
    assert token.value() is None
    assert token.problem is not None
    assert "secret" not in token.problem + repr(token)
    assert Token.given("\ud800").value() is None

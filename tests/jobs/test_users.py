"""Users as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.core.model import User
from worker.core.rules.identity import IdentityRules
from worker.jobs.users import Identifier, Users, identifier, users_of_file
from worker.jobs.when import Unreadable


def test_each_kind_is_read() -> None:
    assert identifier("phone=+15551230001") == ("phone", "", "+15551230001")
    assert identifier(" email=a=b@Example.COM ") == ("email", "", "a=b@Example.COM")
    assert identifier("client_user_id=7") == ("client_user_id", "", "7")
    assert identifier("custom:shop id=7") == ("custom", "shop id", "7")


@pytest.mark.parametrize("text", ["", "+15551230001", "phone=", "phone:x=1", "custom=7", "custom:=7", "name=x"])
def test_what_is_no_user_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Unreadable) as refused:
        identifier(text)
    assert str(refused.value) == "a user is phone=…, email=…, client_user_id=… or custom:NAME=…"


def test_a_user_is_included_by_any_identifier() -> None:
    users = Users([identifier("email=a@EXAMPLE.com"), identifier("custom:shop=7")], IdentityRules())
    assert users.include(User(phone="+15551230001", email="a@example.COM"))
    assert users.include(User(custom=(("other", "7"), ("shop", "7"))))
    assert not users.include(User(email="A@example.com")), "before the @, the case may matter"
    assert not users.include(User(custom=(("other", "7"),)))
    assert Users(None, IdentityRules()).include(User(phone="+15551230001"))
    assert not Users([], IdentityRules()).include(User(phone="+15551230001"))


def test_it_remembers_who_was_typed_and_never_met() -> None:
    typed = [identifier("phone=311-555-2368"), identifier("custom:shop=7"), identifier("email=typo@example.com")]
    users = Users(typed, IdentityRules(phone_region="US"))
    assert users.unmet == typed
    users.include(User(phone="+13115552368", email="somebody@example.com"))
    users.include(User(custom=(("shop", "7"),)))
    assert users.unmet == [typed[2]]
    assert Users(None, IdentityRules()).unmet == []


def test_users_are_typed_in_any_form_that_the_settings_take() -> None:
    rules = IdentityRules(phone_region="US", email_case="lower")
    users = Users([identifier("phone=(311) 555-2368"), identifier("email=Ann@Shop.Example")], rules)
    for phone in ("+13115552368", "311-555-2368"):
        assert users.include(User(phone=phone)), "as it is sent, and as a letter has it"
    assert users.include(User(email="ANN@shop.example"))
    assert not users.include(User(phone="junk", email="anna@shop.example"))
    assert Users([identifier("phone=junk")], rules).include(User(phone="junk")), "an invalid one is found as it is"


def test_a_file_has_one_user_a_line(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    path.write_text("# loyal\nphone=+15551230001\n\n  email=a@example.com\n", encoding="utf-8")
    assert users_of_file(path) == [identifier("phone=+15551230001"), identifier("email=a@example.com")]
    path.write_bytes(b"\xef\xbb\xbfphone=+15551230001\r\n\r\nemail=a@example.com\r\n")
    assert users_of_file(path) == [identifier("phone=+15551230001"), identifier("email=a@example.com")]
    path.write_text("phone=+15551230001\n+15551230002\n", encoding="utf-8")
    with pytest.raises(Unreadable, match=r"users.txt, line 2: a user is phone=") as refused:
        users_of_file(path)
    assert "30002" not in str(refused.value)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Unreadable, match="not UTF-8"):
        users_of_file(path)
    with pytest.raises(Unreadable, match="cannot be read"):
        users_of_file(tmp_path / "absent")


def test_an_identifier_is_not_printed() -> None:
    assert repr(Identifier("phone", "", "+15551230001")) == "Identifier(phone)"

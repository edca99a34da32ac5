"""Which identifier names the user, which ones are sent, and which ones are refused."""

from __future__ import annotations

import email_validator
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.model import User, UserKey
from worker.core.rules.identity import IdentityRules, name_user

FULL = User("+13115552368", "Ann@Shop.Example", "c1", (("loyalty", "L1"), ("crm", "7")))


def test_the_first_kind_present_names_the_user_and_is_sent_alone() -> None:
    for order, key, sent in (
        (("phone", "email"), UserKey("phone", "", "+13115552368"), User(phone="+13115552368")),
        (("email", "phone"), UserKey("email", "", "Ann@shop.example"), User(email="Ann@Shop.Example")),
        (("client_user_id",), UserKey("client_user_id", "", "c1"), User(client_user_id="c1")),
        (("custom", "phone"), UserKey("custom", "loyalty", "L1"), User(custom=(("loyalty", "L1"),))),
    ):
        named = name_user(FULL, IdentityRules(order))
        assert (named.key, named.user, named.fault) == (key, sent, None)


@pytest.mark.parametrize("blank", [None, "", " ", "\t\n"])
def test_blank_identifiers_are_absent(blank: str | None) -> None:
    user = User(blank, blank, blank, (("loyalty", blank or ""), ("crm", "7")))
    named = name_user(user, IdentityRules(send="all"))
    assert (named.key, named.user) == (UserKey("custom", "crm", "7"), User(custom=(("crm", "7"),)))
    nobody = name_user(User(blank, blank, blank), IdentityRules())
    assert (nobody.key, nobody.fault) == (None, None)


def test_all_sends_every_identifier_even_of_kinds_that_the_order_leaves_out() -> None:
    named = name_user(FULL, IdentityRules(("client_user_id",), "all"))
    assert (named.key, named.user) == (UserKey("client_user_id", "", "c1"), FULL)
    assert name_user(User(phone="+13115552368"), IdentityRules(("email",), "all")).key is None


def test_an_identifier_that_is_not_sent_is_not_checked() -> None:
    user = User("+13115552368", "not an email", "c1")
    assert name_user(user, IdentityRules()).key is not None
    fault = name_user(user, IdentityRules(send="all")).fault
    assert fault == "email: not an email address"


@pytest.mark.parametrize("phone", ["+13115552368", "+447911123456", "+4930123456", "+80012345678"])
def test_a_phone_in_e164_form_passes_whether_the_number_is_assigned_or_not(phone: str) -> None:
    assert name_user(User(phone=phone), IdentityRules()).fault is None


@pytest.mark.parametrize(
    "phone",
    [
        "13115552368",
        "+1 311 555 2368",
        "+1-311-555-2368",
        "+131155523",
        "+131155523681",
        "+0123456789",
        "+99912345678",
        "tel:+13115552368",
        "+13115552368;ext=1",
        " +13115552368",
        "+1311555236\uff18",
        "+",
        "phone",
        "+13115552368\n",
    ],
)
def test_another_phone_is_refused_with_a_message_that_does_not_repeat_it(phone: str) -> None:
    named = name_user(User(phone=phone), IdentityRules())
    assert named.key is None
    assert named.fault is not None
    assert named.fault.startswith("phone: not in E.164 form")


@pytest.mark.parametrize(
    "email",
    [
        "a@b.example",
        "a+tag@store.local",
        "a@b.test",
        "A.B-c_d@MAIL.example.com",
        "o'k@x.com",
        "ü@exämple.de",
        '"q q"@x.com',
        "a@localhost",
        "a@ex-ample.com",
    ],
)
def test_an_email_passes_even_on_a_reserved_domain(email: str) -> None:
    assert name_user(User(email=email), IdentityRules()).fault is None


@pytest.mark.parametrize(
    "email",
    [
        "a",
        "a@",
        "@b.example",
        "a b@c.example",
        "a..b@c.example",
        "Ann <a@b.example>",
        "a@b_c.example",
        "a@b.example ",
        "a@-b.test",
        f"a@{'b' * 64}.com",
    ],
)
def test_other_emails_are_refused(email: str) -> None:
    assert name_user(User(email=email), IdentityRules()).fault == "email: not an email address"


_ATOM = st.text("abzAZ019._+-", min_size=1, max_size=12)


@given(_ATOM, _ATOM, st.sampled_from(["com", "example", "c", "museum", "c0m"]))
def test_the_quick_check_of_an_email_agrees_with_the_library(local: str, host: str, top: str) -> None:
    email = f"{local}@{host}.{top}"
    try:
        email_validator.validate_email(email, check_deliverability=False, globally_deliverable=False)
        valid = True
    except email_validator.EmailNotValidError:
        valid = False
    assert (name_user(User(email=email), IdentityRules()).fault is None) == valid


@given(st.from_regex(r"\+1[0-9]{9,11}", fullmatch=True))
def test_the_quick_check_of_a_phone_agrees_with_the_library(phone: str) -> None:
    number = phonenumbers.parse(phone)
    own_form = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    valid = own_form == phone and phonenumbers.is_possible_number(number)
    assert (name_user(User(phone=phone), IdentityRules()).fault is None) == valid


def test_only_the_domain_is_compared_without_case_and_the_email_is_sent_as_it_came() -> None:
    upper, lower = (name_user(User(email=email), IdentityRules()) for email in ("Ann@SHOP.example", "Ann@shop.example"))
    other = name_user(User(email="ann@shop.example"), IdentityRules())
    assert upper.key == lower.key != other.key
    assert upper.user.email == "Ann@SHOP.example"


def test_long_identifiers_are_refused() -> None:
    rules = IdentityRules(send="all")
    for user in (User(client_user_id="x" * 101), User(custom=(("n", "x" * 101),)), User(email="x" * 101)):
        assert "longer than 100 characters" in (name_user(user, rules).fault or "")
    assert name_user(User(client_user_id="x" * 100), rules).fault is None
    assert "name is longer" in (name_user(User(custom=(("n" * 101, "x"),)), rules).fault or "")
    assert "name is empty" in (name_user(User(custom=(("", "x"),)), rules).fault or "")


@pytest.mark.parametrize("order", [(), ("phone", "phone"), ("shopify",)])
def test_an_order_names_known_kinds_once(order: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="identity order"):
        IdentityRules(order)
    with pytest.raises(ValueError, match="first, all"):
        IdentityRules(send="some")

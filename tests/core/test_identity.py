"""Which identifier names the user, which ones are sent, and which ones are refused."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.core.model import Unusable, User, UserKey
from worker.core.rules.identifiers import AS_THEY_ARE
from worker.core.rules.identity import CASES, KINDS, IdentityRules, Named, canonical, compared, name_user
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.core.rules.remembered import Keys, Unsure
from worker.core.waiting.entry import Entry

FULL = User("+13115552368", "Ann@Shop.Example", "c1", (("loyalty", "L1"), ("crm", "7")))
# A key is one text, so what it is made of must come back whole, whatever is in it.
TEXTS = st.text(max_size=5) | st.sampled_from(["", "\0", "3:a", ":", "\ud800", "я"])


def addressed(named: Named) -> User:
    """The identifiers to send."""
    assert named.key is not None
    return named.key.user if named.sent is None else named.sent


@given(st.sampled_from(KINDS), TEXTS, TEXTS, st.sampled_from(KINDS), TEXTS, TEXTS)
def test_a_key_is_its_kind_name_and_value_and_shows_none_of_them(
    kind: str, name: str, value: str, other_kind: str, other_name: str, other_value: str
) -> None:
    one = kind, name if kind == "custom" else "", value
    other = other_kind, other_name if other_kind == "custom" else "", other_value
    key = UserKey(*one)
    assert (key.kind, key.name, key.value) == one
    assert (key == UserKey(*other)) == (one == other)
    assert {str(key), f"{key}", repr(key), str(KeyError(key))} == {f"UserKey({kind})"}


def test_the_first_kind_present_names_the_user_and_is_sent_alone() -> None:
    for order, key, sent in (
        (("phone", "email"), UserKey("phone", "", "+13115552368"), User(phone="+13115552368")),
        (("email", "phone"), UserKey("email", "", "Ann@shop.example"), User(email="Ann@Shop.Example")),
        (("client_user_id",), UserKey("client_user_id", "", "c1"), User(client_user_id="c1")),
        (("custom", "phone"), UserKey("custom", "loyalty", "L1"), User(custom=(("loyalty", "L1"),))),
    ):
        named = name_user(FULL, IdentityRules(order))
        assert (named.key, addressed(named), named.fault) == (key, sent, None)


@pytest.mark.parametrize("blank", [None, "", " ", "\t\n"])
def test_blank_identifiers_are_absent(blank: str | None) -> None:
    user = User(blank, blank, blank, (("loyalty", blank or ""), ("crm", "7")))
    named = name_user(user, IdentityRules(send="all"))
    assert (named.key, addressed(named)) == (UserKey("custom", "crm", "7"), User(custom=(("crm", "7"),)))
    nobody = name_user(User(blank, blank, blank), IdentityRules())
    assert (nobody.key, nobody.fault) == (None, None)


def test_all_sends_every_identifier_even_of_kinds_that_the_order_leaves_out() -> None:
    named = name_user(FULL, IdentityRules(("client_user_id",), "all"))
    assert (named.key, addressed(named)) == (UserKey("client_user_id", "", "c1"), FULL)
    assert name_user(User(phone="+13115552368"), IdentityRules(("email",), "all")).key is None


def test_an_invalid_identifier_that_names_nobody_is_dropped_and_counted() -> None:
    user = User("junk", "a@b.example", "c1", (("loyalty", "x" * 101), ("crm", "7")))
    named = name_user(user, IdentityRules(("email", "phone"), "all"))
    sent = User(None, "a@b.example", "c1", (("crm", "7"),))
    assert (named.key, addressed(named), named.dropped) == (UserKey("email", "", "a@b.example"), sent, 2)
    assert named.fault is None
    alone = name_user(user, IdentityRules(("email", "phone")))
    assert (addressed(alone), alone.dropped) == (User(email="a@b.example"), 0), "what is not sent is not looked at"


@pytest.mark.parametrize("send", ["first", "all"])
def test_the_next_identifier_may_name_the_user_where_the_first_is_invalid(send: str) -> None:
    user = User("junk", "not an email", None, (("loyalty", "x" * 101), ("crm", "7")))
    order = ("phone", "email", "client_user_id", "custom")
    letter = name_user(user, IdentityRules(order, send))
    assert (letter.key, letter.dropped) == (None, 0)
    assert (letter.fault or "").startswith("phone: not in E.164 form")
    named = name_user(user, IdentityRules(order, send, invalid="next"))
    assert (named.key, addressed(named)) == (UserKey("custom", "crm", "7"), User(custom=(("crm", "7"),)))
    assert (named.dropped, named.fault) == (3, None)
    nobody = name_user(User("junk", "not an email"), IdentityRules(order, send, invalid="next"))
    assert (nobody.key, nobody.fault) == (None, letter.fault), "the first one's fault is told"


def test_a_field_that_holds_no_identifier_counts_as_an_invalid_one() -> None:
    unusable = [Unusable("phone", "phone: the field holds list")]
    user = User(email="a@b.example")
    refused = name_user(user, IdentityRules(), unusable)
    assert (refused.key, refused.fault) == (None, "phone: the field holds list")
    for rules in (
        IdentityRules(("email", "phone"), "all"),
        IdentityRules(invalid="next"),
        IdentityRules(("email",), "all"),
    ):
        named = name_user(user, rules, unusable)
        assert (named.key, addressed(named), named.dropped) == (UserKey("email", "", "a@b.example"), user, 1)


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
        "+15552368",
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
    ("region", "written", "sent"),
    [
        ("US", "(311) 555-2368", "+13115552368"),
        ("US", "311.555.2368", "+13115552368"),
        ("US", "1 311 555 2368", "+13115552368"),
        ("US", "13115552368", "+13115552368"),
        ("US", " +1 311 555 2368\t", "+13115552368"),
        ("US", "011 44 7911 123456", "+447911123456"),
        ("US", "+44 (0)7911 123456", "+447911123456"),
        ("US", "+447911123456", "+447911123456"),
        ("DE", "0171/1234567", "+491711234567"),
        ("DE", "1711234567", "+491711234567"),
        ("FR", "06 12 34 56 78", "+33612345678"),
        ("IT", "06 1234 5678", "+390612345678"),
        ("EG", "٠١٠٠١٢٣٤٥٦٧", "+201001234567"),
    ],
)
def test_with_a_region_numbers_are_read_as_people_write_them_there(region: str, written: str, sent: str) -> None:
    named = name_user(User(phone=written), IdentityRules(phone_region=region))
    assert (named.key, addressed(named)) == (UserKey("phone", "", sent), User(phone=sent))


@pytest.mark.parametrize(
    "junk",
    ["555-2368", "1-800-FLOWERS", "311 555 2368 x5", "call 3115552368", "tel:+13115552368", "0", "n/a", "-", "+"],
)
def test_a_region_makes_no_number_of_junk(junk: str) -> None:
    named = name_user(User(phone=junk), IdentityRules(phone_region="US"))
    assert named.fault is not None
    assert named.fault.startswith("phone: neither a number of US nor")
    assert junk not in named.fault.removeprefix("phone: ") or len(junk) == 1


ADDRESSES = (
    "a@b.example",
    "a+tag@store.local",
    "a@b.test",
    "a@b.invalid",
    "a@b.onion",
    "a@home.arpa",
    "A.B-c_d@MAIL.example.com",
    "o'k@x.com",
    "!#$%&*/=?^`{|}~@x.com",
    "ü@exämple.de",
    "用户@例子.公司",
    "i@❤.ws",
    '"q q"@x.com',
    '"a@b \\" c"@x.com',
    "a@localhost",
    "a@ex-ample.com",
    "a@ex--ample.com",
    "a@xn--a.com",
    "a@b_c.example",
    "a@1.2.3.4",
    "a@[192.0.2.1]",
    "a@[IPv6:2001:db8::1]",
    "a..b@docomo.example",
    "a.@docomo.example",
    ".a@docomo.example",
    f"{'x' * 80}@b.example",
)
"""The world uses these, or might: among them hosts, tops and local parts that libraries object to."""


@pytest.mark.parametrize("email", ADDRESSES)
def test_what_a_mail_system_somewhere_takes_is_left_to_the_api(email: str) -> None:
    named = name_user(User(email=email), IdentityRules())
    assert (addressed(named), named.fault) == (User(email=email), None)


@pytest.mark.parametrize(
    "email",
    [
        "a",
        "a@",
        "@b.example",
        "a b@c.example",
        "a@b@c.example",
        "a@b..example",
        "a@b.example.",
        "a@[shop]",
        '"a"b"@x.com',
        "Ann <a@b.example>",
        "mailto:a@b.example",
        "a@b.example,c@d.example",
        "a@b.example ",
        "a@b.example\n",
        "a\u200b@b.example",
        "a\ud800@b.example",
        "a@-b.test",
    ],
)
def test_what_no_mail_system_takes_is_refused(email: str) -> None:
    assert name_user(User(email=email), IdentityRules()).fault == "email: not an email address"


def test_addresses_may_be_sent_and_compared_in_lower_case() -> None:
    lower = IdentityRules(email_case="lower")
    named = [name_user(User(email=email), lower) for email in ("Ann.Lee@SHOP.example", "ann.lee@shop.example")]
    assert named[0] == named[1]
    assert addressed(named[0]) == User(email="ann.lee@shop.example")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("TITLE@x.com", "title@x.com"),
        ("ÜBER@x.com", "über@x.com"),
        ("Straße@x.com", "straße@x.com"),
        ("İ@x.com", "i̇@x.com"),
    ],
)
def test_lower_case_goes_by_unicode_without_a_language(given: str, sent: str) -> None:
    """A Turkish İ keeps its dot as a character of its own, a Turkish I becomes i as everybody's, and ß is not ss."""
    rules = IdentityRules(email_case="lower")
    named = name_user(User(email=given), rules)
    assert addressed(named) == User(email=sent)
    assert name_user(addressed(named), rules) == named


@given(st.from_regex(r"\+1[0-9]{9,11}", fullmatch=True))
def test_the_quick_check_of_a_phone_agrees_with_the_library(phone: str) -> None:
    number = phonenumbers.parse(phone)
    own_form = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    possible = phonenumbers.is_possible_number_with_reason(number)
    valid = own_form == phone and possible == phonenumbers.ValidationResult.IS_POSSIBLE
    assert (name_user(User(phone=phone), IdentityRules()).fault is None) == valid


def test_only_the_domain_is_compared_without_case_and_the_email_is_sent_as_it_came() -> None:
    upper, lower = (name_user(User(email=email), IdentityRules()) for email in ("Ann@SHOP.example", "Ann@shop.example"))
    other = name_user(User(email="ann@shop.example"), IdentityRules())
    assert upper.key == lower.key != other.key
    assert addressed(upper) == User(email="Ann@SHOP.example")


def test_long_identifiers_are_refused() -> None:
    rules = IdentityRules()
    for user in (User(client_user_id="x" * 101), User(custom=(("n", "x" * 101),)), User(email="x" * 101)):
        assert "longer than 100 characters" in (name_user(user, rules).fault or "")
    assert name_user(User(client_user_id="x" * 100), rules).fault is None
    assert "name is longer" in (name_user(User(custom=(("n" * 101, "x"),)), rules).fault or "")
    assert "name is empty" in (name_user(User(custom=(("", "x"),)), rules).fault or "")


@pytest.mark.parametrize("order", [(), ("phone", "phone"), ("shopify",)])
def test_an_order_names_known_kinds_once(order: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="identity order"):
        IdentityRules(order)
    for wrong, match in (
        ({"send": "some"}, "first, all"),
        ({"email_case": "upper"}, "keep, lower"),
        ({"invalid": "drop"}, "letter, next"),
        ({"phone_region": "UK"}, "two letters"),
    ):
        with pytest.raises(ValueError, match=match):
            IdentityRules(**wrong)  # type: ignore[arg-type]  # the words are wrong, not their types


TEXTS = st.text(st.sampled_from("+1234567890aZ@.- \t\n\u00e9\u2003\U0001f600"), max_size=14)
MAILBOXES = st.from_regex(r"[a-z0-9.]{1,90}@[a-zA-Z]{1,3}\.[a-z]{2,9}\n?", fullmatch=True)
AT_THE_LIMIT = st.sampled_from(
    [f"{'a' * length}{end}" for length in (87, 88, 99, 100) for end in ("", "@shop.example")]
)
NUMBERS = st.from_regex(r"\+1[2-9][0-9]{9}\n?", fullmatch=True)


@given(st.sampled_from(sorted(AS_THEY_ARE)), TEXTS | MAILBOXES | NUMBERS | AT_THE_LIMIT)
def test_what_a_quick_look_passes_is_valid_and_goes_as_it_is_by_any_rules(kind: str, text: str) -> None:
    if AS_THEY_ARE[kind](text):
        for rules in (IdentityRules(email_case=case, phone_region=region) for case in CASES for region in (None, "GB")):
            assert canonical(kind, "", text, rules) == compared(kind, "", text, rules) == text
            user = {"phone": User(text), "email": User(None, text), "client_user_id": User(None, None, text)}[kind]
            named = name_user(user, rules)
            assert (named.key, addressed(named)) == (UserKey(kind, "", text), user)


CAPITALS = st.text("aZ\u0130\u03a3.@-", max_size=9)


@given(
    st.sampled_from(["phone", "email", "client_user_id"]),
    TEXTS | MAILBOXES | NUMBERS | AT_THE_LIMIT | CAPITALS,
    st.sampled_from(CASES),
    st.sampled_from([None, "GB", "KE"]),
)
@example("phone", "00254 15984", "keep", "KE")
@example("email", "a@" + 97 * "\u0130" + "b", "keep", None)
def test_who_waits_is_named_by_the_own_key_as_if_it_were_checked_anew(
    kind: str, text: str, email_case: str, region: str | None
) -> None:
    rules = IdentityRules((kind,), email_case=email_case, phone_region=region)
    key = name_user(User(**{kind: text}), rules).key  # type: ignore[arg-type]  # a kind that is not `custom`
    if key is None:
        return
    for value in (key.value, text):
        expecting, anew = Preflight(rules, AttributeRules()), Preflight(rules, AttributeRules())
        expecting.expect({key: Entry(key, 0.0)})
        assert _named(expecting.keys[kind], value) == _named(anew.keys[kind], value)


def _named(keys: Keys, value: str) -> UserKey | None:
    try:
        return keys[value]
    except Unsure:
        return None


def test_who_waits_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million users most are not remembered otherwise: see `Keys`."""
    key = UserKey("phone", "", "+13115552368")
    preflight = Preflight(IdentityRules(), AttributeRules())
    preflight.expect({key: Entry(key, 0.0)})
    monkeypatch.setattr(preflight.keys["phone"], "_as_it_is", None)
    assert preflight.keys["phone"][key.value] is key


def test_an_identifier_that_stands_for_one_that_is_not_known_names_nobody_who_waits() -> None:
    key = UserKey("client_user_id", "", "unknown")
    preflight = Preflight(IdentityRules(), AttributeRules(unknown_values=("unknown",)))
    preflight.expect({key: Entry(key, 0.0)})
    assert _named(preflight.keys["client_user_id"], "unknown") is None

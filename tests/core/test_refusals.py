"""The memory of earlier refusals makes a search cheaper, and never costs a good value."""

from __future__ import annotations

from tests.core.drive import OK, Account, Driver, warm
from worker.core.delivery.refusals import Refusals
from worker.core.model import Call, Reply

DAY_SECONDS = 86_400.0
WITHIN_SECONDS = 60.0


def test_a_value_that_was_accepted_before_and_is_now_refused_costs_no_other_value() -> None:
    """An enumeration loses a value. Users who have it must not be taken for users of whom everything is refused."""
    for pause in (0.0, 7 * DAY_SECONDS):
        bad: set[tuple[str, object]] = set()
        driver, account = Driver(), Account(lambda name, value, bad=bad: (name, value) in bad)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        driver.change(1, {"tier": "gold", "city": "a"})
        driver.run(account, 10)
        driver.advance(pause)
        bad.add(("tier", "gold"))
        for user in (2, 3, 4):
            driver.change(user, {"tier": "gold", "city": f"c{user}"})
            driver.run(account, 60)
        assert [account.of(user) for user in (2, 3, 4)] == [{"city": f"c{user}"} for user in (2, 3, 4)]
        assert [name for _, name, _ in driver.lost()] == ["tier"] * 3


def test_an_error_that_names_every_attribute_is_no_hint() -> None:
    names = [f"n{number:02d}" for number in range(60)]
    account = Account()

    def answer(call: Call) -> Reply:
        if "n45" in call.properties:
            return Reply(400, message="cannot set " + ", ".join(call.properties))
        account(call)
        return OK

    driver = Driver()
    driver.change(1, {name: number for number, name in enumerate(names)})
    driver.run(answer, 100)
    assert [name for _, name, _ in driver.lost()] == ["n45"]
    assert len(driver.sent) <= 14  # 2 * log2(60) + 2


def test_in_a_storm_the_calls_of_a_search_are_as_far_apart_as_probes() -> None:
    driver = Driver(storm_letters_max=5)
    for user in range(50):
        driver.change(user, {f"n{number}": user for number in range(8)})
    driver.run(lambda _: Reply(400), 5.0)
    assert driver.engine.halt is not None
    asked = len(driver.sent)
    driver.run(lambda _: Reply(400), 600.0)
    assert len(driver.sent) - asked <= 600 / 10 + 10


def test_a_text_that_speaks_of_an_address_convicts_no_identifier_that_no_accepted_value_convicts() -> None:
    """The two values that are no addresses are attributes'; the error names neither."""
    driver = Driver()
    warm(driver)
    vague = Reply(400, message="Value is not a valid email address", body="{}")
    account = Account(lambda name, _: name.endswith("_contact"))
    attributes: dict[str, object] = {"backup_contact": "none", "work_contact": "nobody"}
    driver.change(1, {**attributes, "tier": "gold", "points": 5, "store": "North"})
    driver.run(lambda call: vague if account(call).status == 400 else Reply(200), WITHIN_SECONDS)
    assert sorted(name for _, name, _ in driver.lost()) == ["backup_contact", "work_contact"]
    assert account.of(1) == {"tier": "gold", "points": 5, "store": "North"}


def test_a_value_that_is_accepted_again_is_no_suspect_even_if_another_of_its_type_was_accepted_before() -> None:
    refusals = Refusals()
    refusals.refused("tier", "Platinum", 0.0)
    refusals.accepted({"tier": "Gold"}, 1.0)
    assert refusals.suspects({"tier": "Platinum", "age": 1}, 2.0) == ["tier"]
    refusals.accepted({"tier": "Platinum"}, 3.0)
    assert not refusals.suspects({"tier": "Platinum", "age": 1}, 4.0)

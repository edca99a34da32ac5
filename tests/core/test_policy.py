"""The attribute policy: names that are denied, and harmless names that look like them."""

from __future__ import annotations

import pytest

from worker.core.rules.policy import AttributeRules, Decision, Policy

FORBIDDEN = """
ssn SSN user_ssn ssn_last4 userSSN customerSsn social_security_number SocialSecurity social-security socialsecurity
socialsecuritynumber passport passport_number passportNumber user_passport_id driver_license drivers_licence
DriverLicenseNumber driving-licence state_id_number credit_card credit_card_number creditCardNumber card_number
CardNumber cardnumber debit_card_number cvv cvv2 card_cvc account_number accountNumber bank_account
bank_account_iban iban routing_number password userPassword password_hash passwd pin security_answer access_token
api_key race user_race ethnicity ethnic_origin racial_background religion religious_beliefs philosophical_beliefs
union_membership trade_union genetic_data dna biometric biometric_id face_scan fingerprint health_condition health
mental_health medical_history diagnosis medications pregnant is_pregnant disability blood_type sexual_orientation
sex_life sexuality political_party political_views politicalOpinion party_affiliation citizenship citizenship_status
immigration_status visa_status nationality geolocation geo_location precise_location latitude home_lat last_gps_fix
device_latitude criminal_record is_under_13 under13
"""

INNOCENT = """
race_day_shoe_size racer_level race_results_url passport_tier passport_member_since Passport_Points classname assn
lesson_count gift_card_number loyalty_card_number card_type credit_card_holder_since_app account_tier account_age
loyalty_account_number pincode pinned_item spinner opinion healthy_choice health_food_fan health_and_beauty_interest
unionville_store reunion_date credit_union_branch european credit_score favourite_colour password_changed_at
discussion genre city state zip store_id visa_card_promo embrace braces trace_id phone_type religionless_holidays
political_science_books dietary_note sizes gender first_name last_order_total vip birthday sign_up generic geography
store_latitude_band lat_pulldown_machine crime_novels_bought diseased_plants_help device_fingerprints_seen
Favorite_color age
"""


@pytest.mark.parametrize("name", [*FORBIDDEN.split(), "Social Security #"])
def test_forbidden_categories_are_denied_however_they_are_spelled(name: str) -> None:
    assert Policy(AttributeRules()).decide(name) is Decision.DENY


@pytest.mark.parametrize("name", INNOCENT.split())
def test_harmless_names_that_contain_such_a_word_pass(name: str) -> None:
    assert Policy(AttributeRules()).decide(name) is Decision.SEND


def test_a_users_own_deny_patterns_replace_the_forbidden_list_or_add_to_it() -> None:
    own = Policy(AttributeRules(deny=("internal_*", "*Secret*")))
    for name in ("internal_id", "InternalId", "internal-x", "top_secret_plan", "SECRET"):
        assert own.decide(name) is Decision.DENY
    for name in ("internal", "internals", "ssn"):
        assert own.decide(name) is Decision.SEND
    both = Policy(AttributeRules(deny=("@forbidden", "internal_*")))
    assert [both.decide(name) for name in ("ssn", "internal_id", "city")] == [
        Decision.DENY,
        Decision.DENY,
        Decision.SEND,
    ]
    assert Policy(AttributeRules(deny=())).decide("ssn") is Decision.SEND


def test_the_allow_list_is_case_sensitive_and_is_asked_before_the_deny_list() -> None:
    policy = Policy(AttributeRules(allow=("city", "loyalty_*")))
    decisions = {
        name: policy.decide(name) for name in ("city", "City", "loyalty_tier", "ssn", "loyalty_ssn", "", "x" * 300)
    }
    assert decisions == {
        "city": Decision.SEND,
        "City": Decision.PASS_OVER,
        "loyalty_tier": Decision.SEND,
        "ssn": Decision.PASS_OVER,
        "loyalty_ssn": Decision.DENY,
        "": Decision.PASS_OVER,
        "x" * 300: Decision.PASS_OVER,
    }


def test_a_denied_name_is_denied_even_if_it_is_too_long() -> None:
    assert Policy(AttributeRules()).decide("ssn_" + "x" * 500) is Decision.DENY


def test_decisions_do_not_change_after_very_many_names() -> None:
    policy = Policy(AttributeRules())
    for number in range(25_000):
        assert policy.decide(f"name {number}") is Decision.SEND
    assert policy.decide("ssn") is Decision.DENY


@pytest.mark.parametrize("rules", [{"deny": ("@unknown",)}, {"allow": ("",)}, {"nulls": "keep"}])
def test_rules_that_make_no_sense_are_refused(rules: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match=r"@unknown|empty|nulls"):
        AttributeRules(**rules)  # type: ignore[arg-type]  # one of them is wrong in type on purpose

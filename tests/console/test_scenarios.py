"""The thirty acceptance scenarios of the console, and the tests that walk through each."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SCENARIOS: dict[int, tuple[str, ...]] = {
    1: (
        "test_in_browser::test_the_first_start",
        "test_sessions::test_without_a_password_there_is_no_console",
    ),
    2: ("test_in_browser::test_today",),
    3: ("test_in_browser::test_why_somebody_was_told",),
    4: ("test_in_browser::test_why_nobody_was_told",),
    6: (
        "test_browser_safety::test_hostile_words_do_nothing_in_a_browser",
        "test_browser_safety::test_turned_words_turn_nothing_around_them",
        "test_in_browser::test_long_words_widen_no_page",
        "test_hostile_words::test_no_words_become_markup_on_any_page",
    ),
    7: ("test_browser_safety::test_a_mail_in_a_frame_can_do_nothing",),
    17: ("test_acts_in_browser::test_a_mail_is_sent_again_by_two_clicks_once",),
    19: ("test_acts_in_browser::test_a_broken_destination_is_seen_and_tried_again",),
    20: ("test_acts_in_browser::test_a_pause_holds_what_comes",),
    21: ("test_acts_in_browser::test_a_mute_says_who_and_why_and_ends_by_itself",),
    22: ("test_browser_safety::test_a_session_that_has_ended_leads_to_the_sign_in",),
    23: (
        "test_sessions::test_too_many_tries_have_to_wait_even_with_the_right_password",
        "test_sign_in::test_a_cookie_that_was_planted_before_the_sign_in_is_worth_nothing_after_it",
    ),
    24: ("test_roles::test_a_route_is_open_to_its_role_and_those_above",),
    25: ("test_browser_safety::test_another_site_reads_and_changes_nothing",),
    26: ("test_keyboard::test_a_chat_is_found_read_and_sent_again_by_keys",),
    27: ("test_every_page::test_longer_words_and_larger_letters_widen_no_page",),
    28: ("test_in_browser::test_the_same_without_scripts",),
}
TO_COME = {5, *range(8, 17), 18, 29, 30}
"""Scenarios whose pages are not there yet."""


def test_each_scenario_has_a_test_or_is_to_come() -> None:
    assert {*SCENARIOS, *TO_COME} == set(range(1, 31))
    assert not SCENARIOS.keys() & TO_COME


@pytest.mark.parametrize("number", SCENARIOS)
def test_the_tests_of_a_scenario_are_there(number: int) -> None:
    for name in SCENARIOS[number]:
        module, _, function = name.partition("::")
        assert f"def {function}(" in (FOLDER / f"{module}.py").read_text("utf-8"), name

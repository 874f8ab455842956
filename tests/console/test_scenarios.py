"""The thirty acceptance scenarios of the console, and the tests that walk through each."""

import sys
from importlib import import_module
from inspect import signature
from types import FunctionType
from typing import cast

import pytest

from tests.console.browsing import in_browser

SCENARIOS: dict[int, tuple[str, ...]] = {
    1: (
        "test_chats_in_browser::test_the_first_start",
        "test_sessions::test_without_a_password_there_is_no_console",
    ),
    2: ("test_chats_in_browser::test_today",),
    3: ("test_chats_in_browser::test_why_somebody_was_told",),
    4: ("test_chats_in_browser::test_why_nobody_was_told",),
    5: (
        "test_rules_in_browser::test_the_rules_of_that_day_are_shown_beside_those_in_force",
        "test_chat_acts::test_the_rules_are_asked_again_and_say_first_what_would_be_sent",
    ),
    6: (
        "test_browser_safety::test_hostile_words_do_nothing_in_a_browser",
        "test_browser_safety::test_turned_words_turn_nothing_around_them",
        "test_chats_in_browser::test_long_words_widen_no_page",
        "test_hostile_words::test_no_words_become_markup_on_any_page",
    ),
    7: ("test_browser_safety::test_a_mail_in_a_frame_can_do_nothing",),
    9: ("test_editor::test_a_mistake_is_marked_told_and_put_right",),
    10: (
        "test_rules_in_browser::test_a_file_that_was_saved_broken_is_told_of_on_open_pages",
        "test_rules_pages::test_a_file_that_is_saved_broken_is_shown_beside_what_is_in_force",
    ),
    11: (
        "test_rules_in_browser::test_a_switch_changes_one_line_and_undo_takes_it_back",
        "test_rules_pages::test_a_switch_changes_one_line_and_undo_brings_the_same_bytes",
    ),
    12: (
        "test_rules_in_browser::test_of_two_editors_neither_loses_anything",
        "test_rules_pages::test_of_two_editors_the_second_is_shown_what_the_first_did",
        "test_rules_pages::test_those_who_change_the_same_line_choose",
    ),
    13: (
        "test_rules_in_browser::test_what_another_program_saves_while_one_publishes_is_never_lost",
        "../test_publish_rules::test_an_edit_at_the_same_moment_is_never_lost",
    ),
    14: (
        "test_rules_in_browser::test_a_file_that_can_not_be_changed_is_taken_away_as_a_patch",
        "../test_publish_rules::test_why_a_file_can_not_be_edited",
        "test_rules_pages::test_what_can_not_be_published_is_taken_away_as_a_patch",
    ),
    15: (
        "test_editor::test_rules_are_tried_on_the_past",
        "test_jobs::test_the_numbers_are_those_of_the_command",
        "test_jobs::test_a_stopped_job_has_no_child_any_more",
    ),
    16: (
        "test_editor::test_a_preview_follows_what_is_typed",
        "test_draft_pages::test_a_template_that_never_ends_says_so_in_its_place",
        "test_editor::test_a_preview_of_wording_follows_what_is_typed",
        "test_wording_pages::test_the_preview_shows_mail_slack_and_teams",
    ),
    17: ("test_acts_in_browser::test_a_mail_is_sent_again_by_two_clicks_once",),
    18: (
        "test_failed_deliveries::test_all_that_failed_for_one_cause_is_sent_again_once",
        "test_acts_in_browser::test_of_many_that_failed_what_is_stopped_in_the_middle_is_left",
    ),
    19: ("test_acts_in_browser::test_a_broken_destination_is_seen_and_tried_again",),
    20: (
        "test_acts_in_browser::test_a_pause_holds_what_comes",
        "../journeys/test_pause::test_it_ends_by_itself_and_is_kept_over_a_restart",
        "test_logged_acts::test_a_test_is_sent_once_and_its_page_has_the_words_of_the_command",
    ),
    21: ("test_acts_in_browser::test_a_mute_says_who_and_why_and_ends_by_itself",),
    22: (
        "test_browser_safety::test_a_session_that_has_ended_leads_to_the_sign_in",
        "test_editor::test_a_draft_is_kept_and_outlives_the_session",
    ),
    23: (
        "test_browser_safety::test_who_guesses_waits_and_a_planted_cookie_is_worth_nothing",
        "test_sessions::test_too_many_tries_have_to_wait_even_with_the_right_password",
        "test_sign_in::test_a_cookie_that_was_planted_before_the_sign_in_is_worth_nothing_after_it",
    ),
    24: (
        "test_rules_in_browser::test_an_editor_is_told_the_place_that_only_an_admin_may_change",
        "test_roles::test_a_route_is_open_to_its_role_and_those_above",
    ),
    25: ("test_browser_safety::test_another_site_reads_and_changes_nothing",),
    26: (
        "test_keyboard::test_a_chat_is_found_read_and_sent_again_by_keys",
        "test_editor::test_by_keyboard_rules_are_completed_published_and_left",
        "test_every_page::test_axe_finds_nothing_on_any_page",
    ),
    27: ("test_every_page::test_longer_words_and_larger_letters_widen_no_page",),
    28: (
        "test_chats_in_browser::test_the_same_without_scripts",
        "test_draft_pages::test_without_scripts_a_try_is_a_page_and_the_draft_is_kept",
    ),
    29: (
        "test_database_away::test_a_locked_database_is_read_and_says_that_it_is_locked",
        "test_database_away::test_a_stopped_server_is_told_of_until_it_is_back",
        "test_database_away::test_a_full_disk_is_told_of_and_pages_are_read",
        "../journeys/test_storage_faults::test_before_the_disk_is_full_hooks_are_refused_and_what_was_kept_is_sent",
    ),
    30: (
        "test_acts_in_browser::test_an_erased_visitor_is_gone_from_every_page",
        "test_chat_acts::test_an_export_has_all_that_is_kept_and_is_written_down",
        "test_chat_acts::test_erasing_takes_a_typed_word_and_leaves_nothing",
    ),
}
MEASURED = {8}
"""By `benchmarks/console.py`: a test would measure time."""
ON_ONE_STORE = {
    29: "each store fails in its own way: a lock, and a server that stops",
}
EACH_STORE = {"site", "full", "relay", "database", "each_store"}
"""Fixtures of a test that runs on SQLite and on PostgreSQL."""


def test_each_scenario_has_a_test_or_is_measured() -> None:
    assert sorted([*SCENARIOS, *MEASURED]) == list(range(1, 31))


@pytest.mark.parametrize("number", SCENARIOS)
def test_a_scenario_is_walked_in_a_browser_and_on_each_store(number: int) -> None:
    walks = [_test(name) for name in SCENARIOS[number]]
    seen = [one for one in walks if _is_in_browser(one)]
    assert seen
    is_on_each = any(map(_is_on_each_store, seen))
    assert is_on_each is (number not in ON_ONE_STORE)


def _test(name: str) -> FunctionType:
    path, _, function = name.partition("::")
    module = "tests." + (path.removeprefix("../") if "/" in path else f"console/{path}")
    return cast("FunctionType", getattr(import_module(module.replace("/", ".")), function))


def _is_in_browser(test: FunctionType) -> bool:
    return getattr(sys.modules[test.__module__], "pytestmark", None) is in_browser


def _is_on_each_store(test: FunctionType) -> bool:
    marks = getattr(sys.modules[test.__module__], "pytestmark", [])
    marks = [*(marks if isinstance(marks, list) else [marks]), *getattr(test, "pytestmark", [])]
    fixtures = {each for mark in marks if mark.name == "usefixtures" for each in mark.args}
    return bool(EACH_STORE & {*fixtures, *signature(test).parameters})

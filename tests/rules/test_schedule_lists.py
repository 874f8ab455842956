"""`within` and `outside` with a list of schedules."""

from datetime import UTC, datetime

import pytest

from tests.builders import a_chat
from tests.rules.books import a_book

FILE = """\
schedules:
  night: {hours: 22:00-06:00}
  weekend: {days: sat-sun}
destinations: {desk: {email: {to: desk@example.com}}}
rules:
  - {name: It, when: {began: %s}, send_to: desk}
"""
WEDNESDAY_NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
WEDNESDAY_NIGHT = datetime(2026, 11, 25, 23, tzinfo=UTC)
SUNDAY_NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
SUNDAY_NIGHT = datetime(2026, 11, 29, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("condition", "times"),
    [
        ("{within: [night, weekend]}", [WEDNESDAY_NIGHT, SUNDAY_NOON, SUNDAY_NIGHT]),
        ("{outside: [night, weekend]}", [WEDNESDAY_NOON]),
        ("{within: [night], outside: [weekend]}", [WEDNESDAY_NIGHT]),
        ("{within: weekend, outside: [night]}", [SUNDAY_NOON]),
        ("{within: [night, weekend], outside: weekend}", [WEDNESDAY_NIGHT]),
    ],
)
def test_any_schedule_of_a_list_is_enough_and_outside_a_list_is_outside_all(
    condition: str, times: list[datetime]
) -> None:
    book = a_book(FILE % condition)
    assert book.warnings == ()
    every = (WEDNESDAY_NOON, WEDNESDAY_NIGHT, SUNDAY_NOON, SUNDAY_NIGHT)
    ms = {time: int(time.timestamp() * 1000) for time in every}
    assert [t for t in every if book.matches(a_chat(beginAt=ms[t], endAt=ms[t]))] == times


@pytest.mark.parametrize(
    "condition",
    [
        "{within: night, outside: [night, weekend]}",
        "{within: [night, weekend], outside: [weekend, night]}",
    ],
)
def test_what_can_never_hold_brings_a_warning(condition: str) -> None:
    (warning,) = a_book(FILE % condition).warnings
    assert "can never match" in warning.words

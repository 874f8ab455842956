"""Time zones: what people write instead of one, and what they are told to write."""

import pytest

from relay.rules import RulesError
from tests.rules.books import a_book

FILE = """\
timezone: {zone}
destinations: {{desk: {{email: {{to: desk@example.com}}}}}}
rules: [{{name: All, when: always, send_to: desk}}]
"""


def said_of(zone: str) -> str:
    try:
        book = a_book(FILE.format(zone=zone))
    except RulesError as error:
        (problem,) = error.problems
        return problem.words
    return " ".join(problem.words for problem in book.warnings)


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        (
            "GMT+1",
            "'GMT+1' is not a time zone; an offset knows no summer time; write Europe/Prague or Europe/Berlin, or Europe/London if",
        ),
        (
            "UTC+02:00",
            "write Europe/Athens or Europe/Kyiv, or Europe/Prague if that is its summer time",
        ),
        ("+1", "write Europe/Prague or Europe/Berlin"),
        ("utc-5", "write America/New_York"),
        ("GMT-5", "write America/New_York"),
        ("UTC+5:30", "write Asia/Kolkata"),
        ("UTC+0545", "write Asia/Kathmandu"),
        ("GMT+99", "write it as Europe/Prague"),
        ("CEST", "did you mean Europe/Prague?"),
        ("PST", "did you mean America/Los_Angeles?"),
        ("Prague", "did you mean Europe/Prague?"),
        ("new york", "did you mean America/New_York?"),
        ("Europe/Praha", "did you mean Europe/Prague"),
        ("europe/pragu", "did you mean Europe/Prague"),
        ("Nowhere", "write it as Europe/Prague"),
        (
            "Etc/GMT+1",
            "'Etc/GMT+1' is UTC-1: its sign is inverted; it has no summer time either; write Atlantic/Azores",
        ),
        ("Etc/GMT-1", "'Etc/GMT-1' is UTC+1"),
        ("EST", "'EST' has no summer time; did you mean America/New_York?"),
    ],
)
def test_what_is_no_place_is_explained_with_the_zone_that_is_meant(zone: str, words: str) -> None:
    assert words in said_of(zone)


@pytest.mark.parametrize(
    "zone", ["Europe/Prague", "UTC", "Etc/UTC", "Etc/GMT", "CET", "Asia/Kolkata"]
)
def test_a_zone_that_is_meant_so_brings_no_warning(zone: str) -> None:
    assert said_of(zone) == ""


@pytest.mark.parametrize("text", ["GMT+1", "CEST", "+2", "Nowhere"])
def test_no_hint_leads_to_a_zone_whose_sign_is_turned_round(text: str) -> None:
    assert "Etc/" not in said_of(text)

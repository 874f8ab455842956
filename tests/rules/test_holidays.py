"""Public holidays: `relay holidays` writes them down, and schedules take what is written."""

import json
import shlex
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from relay.rules import RuleBook, RulesError, read_rules
from relay.rules.reading.holidays_file import path_for, read_holidays, with_year, written
from relay.services.public_holidays import closed_days, run_out
from relay.transports.registry import TRANSPORTS
from tests.rules.books import TEMPLATES
from tests.rules.commands import check, relay

RULES = """\
timezone: Europe/Prague
schedules:
  office: {days: mon-fri, hours: 08:00-17:00, except: [%s, 2026-12-23]}
destinations: {desk: {email: {to: desk@example.com}}}
rules:
  - {name: In the office, when: {began: {within: office}}, send_to: desk}
"""
HOLIDAYS = (
    "CZ: {2026-12-24: Štědrý den, 2027-01-01: New Year's Day}\nDE-BY: {2026-12-25: Weihnachten}\n"
)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES % "holidays CZ", "utf-8")
    path_for(path).write_text(HOLIDAYS, "utf-8")
    return path


def a_book(rules: Path) -> RuleBook:
    return read_rules(
        rules.read_bytes(),
        str(rules),
        transports=TRANSPORTS,
        templates=TEMPLATES,
        holidays=lambda: read_holidays(path_for(rules)),
    )


def is_open(rules: Path, day: str) -> bool:
    """Whether the office is, at noon."""
    noon = datetime.fromisoformat(f"{day} 12:00").replace(tzinfo=ZoneInfo("Europe/Prague"))
    return a_book(rules).schedules["office"].holds(noon.astimezone(UTC))


@pytest.mark.parametrize("word", ["holidays CZ", "Holidays  cz", '"holidays CZ "'])
def test_a_schedule_does_not_hold_on_the_holidays_that_stand_in_the_file(
    rules: Path, word: str
) -> None:
    rules.write_text(RULES % word, "utf-8")
    days = ["2026-12-22", "2026-12-23", "2026-12-24", "2026-12-25", "2027-01-01", "2028-01-03"]
    assert [day for day in days if is_open(rules, day)] == [
        "2026-12-22",
        "2026-12-25",
        "2028-01-03",
    ]


def test_a_subdivision_has_holidays_of_its_own(rules: Path) -> None:
    rules.write_text(RULES % "holidays de-by", "utf-8")
    assert is_open(rules, "2026-12-24")
    assert not is_open(rules, "2026-12-25")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (
            "holidays AT",
            "no holidays of 'AT' (there are: CZ, DE-BY); `relay holidays AT YEAR` writes",
        ),
        ("holidays DE-NW", "`relay holidays DE YEAR --subdivision NW` writes those of a year"),
        ("holidays", "the country is missing; write holidays CZ"),
        ("holidays Czechia", "expected a country, got 'Czechia'; write the two letters"),
        ("holiday CZ", "or holidays CZ"),
    ],
)
def test_what_the_file_does_not_have_is_named_with_the_command_that_writes_it(
    rules: Path, word: str, says: str
) -> None:
    rules.write_text(RULES % word, "utf-8")
    with pytest.raises(RulesError) as refused:
        a_book(rules)
    assert "rules.yaml:3:56: " in str(refused.value)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("CZ: {24.12.2026: x}", "holidays.yaml:1:6: expected a day, got '24.12.2026'"),
        ("CZ: [2026-12-24]", "holidays.yaml:1:5: expected days with their names"),
        ("CZ: {2026-12-24: }", "expected the name of the day, got nothing"),
        ("CZ: {", "holidays.yaml:"),
        ("Czechia: {2026-12-24: x}", "expected a country, got 'Czechia'"),
    ],
)
def test_a_broken_file_is_named_where_a_schedule_takes_days_from_it(
    rules: Path, content: str, says: str
) -> None:
    path_for(rules).write_text(content, "utf-8")
    with pytest.raises(RulesError) as refused:
        a_book(rules)
    assert says in str(refused.value)
    rules.write_text(RULES % "2026-12-24", "utf-8")
    assert a_book(rules).last_holidays == {}


def test_check_names_a_broken_file_and_quotes_no_line_of_the_rules(rules: Path) -> None:
    path_for(rules).write_text("CZ: [2026-12-24]", "utf-8")
    checked = check(rules)
    assert checked.exit_code == 1
    assert "holidays.yaml:1:5: expected days" in checked.output
    assert "Europe/Prague" not in checked.output


def test_check_prints_the_next_days_on_which_a_schedule_is_closed(rules: Path) -> None:
    said = check(rules).output
    assert "The schedule 'office' is closed by `except:` on these days next: " in said
    closed = json.loads(check(rules, "--json").output)["closed_days"]["office"]
    assert all(date.fromisoformat(day) for day in closed)


def test_the_next_closed_days_are_those_on_which_the_weekdays_would_be_open(rules: Path) -> None:
    path_for(rules).write_text(
        "CZ: {2026-12-25: Friday, 2026-12-26: Saturday, 2027-01-01: Friday}", "utf-8"
    )
    office = a_book(rules).schedules["office"]
    days = [date(2026, 12, 23), date(2026, 12, 25), date(2027, 1, 1)]
    assert closed_days(office, date(2026, 11, 28)) == days
    assert closed_days(office, date(2026, 12, 24), 1) == days[1:2]
    assert closed_days(office, date(2027, 1, 2)) == []


@pytest.mark.parametrize(
    ("today", "says"),
    [
        (date(2026, 11, 1), None),
        (date(2027, 11, 1), None),
        (
            date(2027, 11, 2),
            "the holidays of CZ end on 2027-01-01; `relay holidays CZ 2028` writes",
        ),
    ],
)
def test_a_year_that_runs_out_is_said_sixty_days_before(
    rules: Path, today: date, says: str | None
) -> None:
    found = [problem.words for problem in run_out(a_book(rules), rules, today)]
    assert [words[: len(says or "")] for words in found] == ([says] if says else [])


def test_a_year_that_is_written_again_leaves_other_years_and_countries_as_they_are(
    rules: Path,
) -> None:
    before = read_holidays(path_for(rules))
    after = with_year(before, "CZ", 2026, {date(2026, 7, 6): "Jan Hus: a day # of 'quotes'"})
    path_for(rules).write_text(written(after), "utf-8")
    assert read_holidays(path_for(rules)) == {
        "CZ": {
            date(2026, 7, 6): "Jan Hus: a day # of 'quotes'",
            date(2027, 1, 1): "New Year's Day",
        },
        "DE-BY": {date(2026, 12, 25): "Weihnachten"},
    }


def test_the_command_writes_a_years_holidays_that_a_schedule_takes(rules: Path) -> None:
    pytest.importorskip("holidays")
    done = relay("holidays", "cz", "2027", RELAY_RULES=str(rules))
    assert done.exit_code == 0
    assert "CZ 2027, 13 holidays:\n  Fri 2027-01-01  " in done.output
    assert not is_open(rules, "2027-03-29")  # Easter Monday
    assert not is_open(rules, "2026-12-24")  # of the year before, written by hand
    found = json.loads(relay("holidays", "CZ", "2026", "--json", RELAY_RULES=str(rules)).output)
    assert {"2026-12-24", "2026-11-17"} < found[0]["days"].keys()


def test_days_that_are_no_longer_holidays_are_named(rules: Path) -> None:
    pytest.importorskip("holidays")
    path_for(rules).write_text("CZ: {2027-02-01: Our own day}", "utf-8")
    done = relay("holidays", "CZ", "2027", RELAY_RULES=str(rules))
    assert "  Mon 2027-02-01  Our own day: no longer in the file" in done.output
    assert is_open(rules, "2027-02-01")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("XX", "2027"), "the holidays of 'XX' are not known; a country is written by its two"),
        (("Czechia", "2027"), "expected a country, got 'Czechia'"),
        (("DE", "2027", "--subdivision", "XY"), "DE has no subdivision 'XY' with holidays of its"),
        (("AF", "2027", "--subdivision", "XY"), "leave --subdivision out"),
    ],
)
def test_a_country_that_is_not_known_is_refused_and_the_file_stays(
    rules: Path, arguments: tuple[str, ...], says: str
) -> None:
    pytest.importorskip("holidays")
    done = relay("holidays", *arguments, RELAY_RULES=str(rules))
    assert done.exit_code == 1
    assert says in done.output
    assert path_for(rules).read_text("utf-8") == HOLIDAYS


def test_without_the_package_the_command_says_what_to_install(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)  # importing it raises ImportError
    done = relay("holidays", "CZ", "2027", RELAY_RULES=str(rules))
    assert done.exit_code == 2
    assert f"`{shlex.quote(sys.executable)} -m pip install holidays`" in done.output

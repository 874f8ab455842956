"""Writes the public holidays of a year, from the package `holidays`, into the file that schedules use.

The relay does not require the package: importing it takes a second and 40 MB, and it needs an older python-dateutil
than others. Only `relay holidays` imports it.
"""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from relay.rules import Problem, RuleBook, Severity
from relay.rules.reading import holidays_file
from relay.rules.reading.value_parsers import BadValue, shown, there_are
from relay.text import clean_line
from relay.timing.schedule import Schedule

_LONGEST_NAME = 200


class NotInstalled(Exception):
    """Raised where the package `holidays` is not installed; the message says what to install."""

    def __init__(self) -> None:
        super().__init__(
            "the package `holidays`, which knows the public holidays, is not installed: "
            f"`{shlex.quote(sys.executable)} -m pip install holidays`. It need not be where the relay runs: "
            "the command works on any computer that has the relay's source; copy holidays.yaml from there"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """The holidays that were written for one year of a region."""

    region: str
    """The name that a schedule writes after `holidays`, such as `CZ` or `DE-BY`."""
    year: int
    days: Mapping[date, str]
    gone: Mapping[date, str]
    """Days of that year that were in the file before and no longer are."""


def add_holidays(
    rules: Path, country: str, subdivision: str, years: tuple[int, ...]
) -> list[Added]:
    """Write the public holidays of `years` into holidays.yaml beside the rules file.

    They replace the holidays of the same region and year; everything else stays. Raises BadValue for a country, subdivision
    or year that the package does not have, NotInstalled, RulesError where the file is broken, and OSError.
    """
    path = holidays_file.path_for(rules)
    name = holidays_file.region(f"{country}-{subdivision}" if subdivision else country)
    holidays, added = holidays_file.read_holidays(path), []
    for year in years:
        days = _days(*name.partition("-")[::2], year)
        before = holidays.get(name, {})
        gone = {day: words for day, words in before.items() if day.year == year and day not in days}
        holidays = holidays_file.with_year(holidays, name, year, days)
        added.append(Added(region=name, year=year, days=days, gone=gone))
    path.write_text(f"{holidays_file.written(holidays)}\n", "utf-8")
    return added


SOON = timedelta(days=60)
"""How long before a year begins its holidays should be in the file."""


def closed_days(schedule: Schedule, today: date, count: int = 5) -> list[date]:
    """The next days, from today on and within a year, on which a schedule is closed although its weekdays say otherwise."""
    ahead = (today + timedelta(days=number) for number in range(366))
    closed = (day for day in ahead if day.weekday() in schedule.days and not schedule.hours_of(day))
    return list(islice(closed, count))


def run_out(book: RuleBook, rules: Path, today: date) -> list[Problem]:
    """A warning for each region whose holidays of the year in 60 days are not in the file."""
    year = (today + SOON).year
    return [
        Problem(
            path=str(holidays_file.path_for(rules)),
            line=0,
            column=0,
            message=f"the holidays of {name} end on {last}",
            hint=f"`relay holidays {holidays_file.arguments(name, str(year))}` writes those of {year}",
            severity=Severity.WARNING,
        )
        for name, last in book.last_holidays.items()
        if last.year < year
    ]


def _days(country: str, subdivision: str, year: int) -> Mapping[date, str]:
    try:
        package: Any = import_module("holidays")
    except ImportError:
        raise NotInstalled from None
    if country not in package.list_supported_countries(include_aliases=False):
        hint = "a country is written by its two letters, such as CZ, DE or ES"
        raise BadValue(f"the holidays of {shown(country)} are not known", hint)
    code = _subdivision(package.country_holidays(country), country, subdivision)
    holidays = package.country_holidays(country, subdiv=code, years=year)
    # A holiday observed on another day may fall into the year before or after.
    days = {day: words for day, words in sorted(holidays.items()) if day.year == year}
    if not days:
        raise BadValue(f"the holidays of {country} in {year} are not known")
    return {day: clean_line(words, _LONGEST_NAME) for day, words in days.items()}


def _subdivision(of_country: Any, country: str, name: str) -> str | None:  # noqa: ANN401 - untyped there
    """The package's code of a subdivision; None for the whole country."""
    codes = {code.upper(): code for code in of_country.subdivisions}
    if not name or name in codes:
        return codes.get(name)
    problem = f"{country} has no subdivision {shown(name)} with holidays of its own"
    raise BadValue(problem, f"{there_are(codes, 60)}" if codes else "leave --subdivision out")

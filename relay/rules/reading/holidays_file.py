"""Reads and writes `holidays.yaml`, the public holidays for `except: [holidays CZ]`, beside the rules file.

`relay holidays` writes the file, and people may edit it. Reading rules uses only this file: no
holidays are computed or downloaded.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import yaml

from relay.files import read_file
from relay.rules.reading.node_reader import as_table, as_text, parsed
from relay.rules.reading.problem import Place, Problems, RulesError, TooManyProblems
from relay.rules.reading.value_parsers import BadValue, shown, there_are
from relay.rules.reading.yaml_document import MAX_BYTES, Table, Text, Unreadable, read_document

NAME = "holidays.yaml"

Holidays = Mapping[str, Mapping[date, str]]
"""The holidays by country or subdivision (`CZ`, `DE-BY`): each day with its name."""

_REGION = re.compile(r"[a-z]{2}(?:-[\w ]{1,40})?", re.IGNORECASE)
_WORD = re.compile(r"holidays\s+(\S.*)", re.IGNORECASE)
_HEAD = """\
# Public holidays, written by `relay holidays`. In rules.yaml a schedule takes them by `except: [holidays CZ]`.
# Add and delete days as you like: only the days that stand here count.
"""


def path_for(rules: Path) -> Path:
    """Return the path of the holidays file for a rules file."""
    return rules.with_name(NAME)


def region(text: str) -> str:
    """Return the region that a text names: `cz` -> `CZ`, `de-by` -> `DE-BY`. Raises BadValue."""
    text = text.strip()
    if not _REGION.fullmatch(text):
        hint = "write the two letters of ISO 3166, such as CZ, or DE-BY for Bavaria"
        raise BadValue(f"expected a country, got {shown(text)}", hint)
    country, dash, subdivision = text.partition("-")
    return f"{country}{dash}{subdivision}".upper()


def region_named(text: str) -> str | None:
    """Return the region in `holidays CZ`; None if the text has another form. Raises BadValue."""
    if text.strip().casefold() == "holidays":
        raise BadValue(
            "the country is missing", "write holidays CZ, with the country's two letters"
        )
    match = _WORD.fullmatch(text.strip())
    return region(match[1]) if match else None


def arguments(name: str, year: str) -> str:
    """Return the arguments of `relay holidays` for a region: `DE 2027 --subdivision BY`."""
    country, _, subdivision = name.partition("-")
    return f"{country} {year} --subdivision {subdivision}" if subdivision else f"{country} {year}"


def days_of(holidays: Holidays, name: str) -> Mapping[date, str]:
    """Return the holidays of a region that a rules file names. Raises BadValue if the file has none of it."""
    if not (days := holidays.get(name)):
        message = (
            f"{NAME}, beside this file, has no holidays of {shown(name)} ({there_are(holidays)})"
        )
        hint = f"`relay holidays {arguments(name, 'YEAR')}` writes those of a year"
        raise BadValue(message, hint)
    return days


def read_holidays(path: Path) -> Holidays:
    """Return the content of a holidays file; empty if the file is missing. Raises RulesError with all problems."""
    problems, source = Problems(str(path)), b""
    try:
        source = read_file(path, MAX_BYTES)
        return _read(source, problems)
    except FileNotFoundError:
        return {}
    except OSError as error:
        problems.error(Place(str(path)), f"the file can't be read: {error.strerror or error}")
    except (Unreadable, TooManyProblems):
        pass  # the problem is noted
    raise RulesError(problems.errors, source)


def _read(source: bytes, problems: Problems) -> Holidays:
    node = read_document(source, problems)
    holidays: dict[str, dict[date, str]] = {}
    if node is None or (isinstance(node, Text) and node.missing):
        return holidays
    if table := as_table(problems, node, "countries, each with its days"):
        for key, days in table.entries.values():
            name = parsed(problems, key, region)
            expected = "days with their names, such as 2027-01-01: New Year's Day"
            if (inner := as_table(problems, days, expected)) and name:
                holidays[name] = _days(inner, problems)
    if problems.errors:
        raise RulesError(problems.errors, source)
    return holidays


def _days(table: Table, problems: Problems) -> dict[date, str]:
    names = {}
    for key, node in table.entries.values():
        day = parsed(problems, key, _day)
        name = as_text(problems, node, "the name of the day")
        if day and name:
            names[day] = name.value
    return names


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise BadValue(f"expected a day, got {shown(text)}", "write 2027-01-01") from None


def with_year(holidays: Holidays, name: str, year: int, days: Mapping[date, str]) -> Holidays:
    """Return the holidays, in which `days` replace the holidays of one region and year."""
    others = {day: words for day, words in holidays.get(name, {}).items() if day.year != year}
    return {**holidays, name: dict(sorted({**others, **days}.items()))}


def written(holidays: Holidays) -> str:
    """Return the text of a holidays file."""
    plain = {name: dict(days) for name, days in sorted(holidays.items())}
    return _HEAD + yaml.safe_dump(plain, allow_unicode=True, width=10_000, sort_keys=False).rstrip()


Read = Callable[[], Holidays]
"""A function that reads the holidays for a rules file, called if a schedule needs them. Raises RulesError."""

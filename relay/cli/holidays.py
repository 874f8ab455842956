"""`relay holidays`: the public holidays of a country, as days that a schedule takes."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from relay.cli.printing import FOUND, JSON, could_not_run, counted, print_json, print_lines
from relay.rules import RulesError
from relay.rules.reading.holidays_file import beside
from relay.rules.reading.values import BadValue
from relay.runtime.startup import settings_of
from relay.services.public_holidays import Added, NotInstalled, add_holidays


@click.command()
@click.argument("country")
@click.argument(
    "years", metavar="YEAR...", nargs=-1, required=True, type=click.IntRange(1900, 2200)
)
@click.option(
    "--subdivision", metavar="BY", default="", help="A state or region with holidays of its own."
)
@JSON
def holidays(country: str, years: tuple[int, ...], subdivision: str, *, as_json: bool) -> None:
    """Write the public holidays of COUNTRY in a YEAR, for schedules to take, and print them.

    COUNTRY is its two letters, such as CZ. The days go into holidays.yaml beside the rules file that RELAY_RULES names,
    in place of what stood there of that country and year. A schedule takes them by `except: [holidays CZ]`, with a subdivision
    `except: [holidays DE-BY]`. Only what stands in the file counts: read it, add days, delete days. A running relay takes it up
    within two seconds.

    It needs the package `holidays`: pip install 'smartsupp-relay[holidays]'.

    Exit code: 0 they are written; 1 the country, the subdivision or the year is not known; 2 the file or the package can't be
    used.
    """
    settings, _ = settings_of(os.environ)
    path = beside(settings.rules)
    try:
        added = add_holidays(settings.rules, country, subdivision, years)
    except BadValue as bad:
        print_lines([f"{bad.what}; {bad.hint}" if bad.hint else bad.what], err=True)
        sys.exit(FOUND)
    except (NotInstalled, RulesError) as error:
        could_not_run(str(error).splitlines())
    except OSError as error:
        could_not_run([f"{path}: can't be written: {error.strerror}"])
    if as_json:
        print_json([_json(one) for one in added])
        return
    print_lines(_told(added, path))


def _told(added: list[Added], path: Path) -> Iterator[str]:
    for one in added:
        yield f"{one.region} {one.year}, {counted(len(one.days), 'holiday')}:"
        yield from (f"  {day:%a %Y-%m-%d}  {words}" for day, words in one.days.items())
        yield from (
            f"  {day:%a %Y-%m-%d}  {words}: no longer in the file"
            for day, words in one.gone.items()
        )
    yield f"They are in {path}; a schedule takes them by `except: [holidays {added[0].region}]`."


def _json(one: Added) -> dict[str, object]:
    return {
        "region": one.region,
        "year": one.year,
        "days": {day.isoformat(): words for day, words in one.days.items()},
        "gone": {day.isoformat(): words for day, words in one.gone.items()},
    }

"""A time zone as people write one: a city's, with what to write instead of an offset or an abbreviation."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from relay.rules.reading.document import Text
from relay.rules.reading.node_reader import parsed
from relay.rules.reading.phrases import did_you_mean, listed, shown
from relay.rules.reading.problem import Problems
from relay.rules.reading.values import BadValue

_OFFSET = re.compile(r"(?:UTC|GMT|Z)?\s*([+\u2212-])\s*(\d{1,2})(?::?(\d\d))?", re.IGNORECASE)
_OF_POSIX = re.compile(r"Etc/GMT([+-])(\d{1,2})", re.IGNORECASE)
_ABBREVIATIONS = {
    **dict.fromkeys(("CEST", "MEZ", "MESZ"), "Europe/Prague"),
    **dict.fromkeys(("EEST",), "Europe/Athens"),
    **dict.fromkeys(("WEST",), "Europe/Lisbon"),
    **dict.fromkeys(("BST",), "Europe/London"),
    **dict.fromkeys(("MSK",), "Europe/Moscow"),
    **dict.fromkeys(("EDT", "ET", "EST"), "America/New_York"),
    **dict.fromkeys(("CST", "CDT", "CT"), "America/Chicago"),
    **dict.fromkeys(("MDT", "MT", "MST"), "America/Denver"),
    **dict.fromkeys(("PST", "PDT", "PT"), "America/Los_Angeles"),
    **dict.fromkeys(("HST",), "Pacific/Honolulu"),
    **dict.fromkeys(("IST",), "Asia/Kolkata"),
    **dict.fromkeys(("JST",), "Asia/Tokyo"),
    **dict.fromkeys(("AEST", "AEDT"), "Australia/Sydney"),
}
"""What is no zone, or one without summer time -> the zone that is mostly meant."""
_CITIES = (
    *("Europe/Prague", "Europe/Berlin", "Europe/London", "Europe/Lisbon", "Europe/Athens", "Europe/Kyiv"),
    *("Europe/Istanbul", "Asia/Dubai", "Asia/Karachi", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Dhaka"),
    *("Asia/Bangkok", "Asia/Singapore", "Asia/Tokyo", "Australia/Adelaide", "Australia/Sydney"),
    *("Pacific/Auckland", "Atlantic/Azores", "America/Sao_Paulo", "America/Halifax", "America/New_York"),
    *("America/Chicago", "America/Denver", "America/Los_Angeles", "America/Anchorage", "Pacific/Honolulu"),
)  # fmt: skip
"""Time zones that are suggested to who writes an offset such as GMT+1."""
_FEW = 3
_JANUARY, _JULY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)


def timezone(problems: Problems, node: Text) -> ZoneInfo:
    """The zone, or a complaint and UTC. Warns of one that is a fixed offset."""
    zone = parsed(problems, node, _zone)
    if zone is None:
        return ZoneInfo("UTC")
    if found := _OF_POSIX.fullmatch(zone.key):
        turned = timedelta(hours=int(found[2])) * (-1 if found[1] == "+" else 1)
        if turned:
            what = f"{shown(zone.key)} is UTC{_signed(turned)}: its sign is turned round"
            problems.warning(node, what, f"it has no summer time either; {_cities(turned)}")
    elif zone.key in _ABBREVIATIONS:
        what = f"{shown(zone.key)} has no summer time"
        problems.warning(node, what, f"did you mean {_ABBREVIATIONS[zone.key]}?")
    return zone


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadValue(f"{shown(name)} is not a time zone", _hint(name.strip())) from None


def _hint(name: str) -> str:
    if found := _OFFSET.fullmatch(name):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        offset *= 1 if found[1] == "+" else -1
        return f"an offset knows no summer time; {_cities(offset)}"
    if meant := _ABBREVIATIONS.get(name.upper()):
        return f"did you mean {meant}?"
    zones = sorted(available_timezones())
    city = name.casefold().replace(" ", "_")
    same = [each for each in zones if each.rpartition("/")[2].casefold() == city]
    if same and "/" in same[0]:
        return f"did you mean {listed(same[:_FEW])}?"
    known = did_you_mean(name, zones)
    return known if known.startswith("did") else "write it as Europe/Prague"


def _cities(offset: timedelta) -> str:
    """Zones that are so far from UTC, in winter or in summer."""
    standard = list(_with_offset(offset, winter=True))
    summer = [each for each in _with_offset(offset, winter=False) if each not in standard]
    if standard:
        more = f", or {summer[0]} if that is its summer time" if summer else ""
        return f"write {listed(standard[:_FEW])}{more}"
    if summer:
        return f"write {listed(summer[:_FEW])}, if that is its summer time"
    return "write it as Europe/Prague"


def _with_offset(offset: timedelta, *, winter: bool) -> Iterator[str]:
    for name in _CITIES:
        zone = ZoneInfo(name)
        offsets = [day.astimezone(zone).utcoffset() or timedelta() for day in (_JANUARY, _JULY)]
        if offset == (min(offsets) if winter else max(offsets)):
            yield name


def _signed(offset: timedelta) -> str:
    hours = offset / timedelta(hours=1)
    return f"{hours:+g}"

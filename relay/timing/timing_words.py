"""Describes timing and plans in words."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from relay.timing.plan import (
    AT_ONCE,
    HOURS,
    LIMIT,
    MUTED,
    ONCE_PER_VISITOR,
    SEND,
    SKIP,
    URGENT,
    At,
    Every,
    Mute,
    Plan,
    Timing,
)
from relay.timing.schedule import Schedule

_UTC = ZoneInfo("UTC")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = {timedelta(hours=1): "hour", timedelta(days=1): "day"}
_PLAIN_MONDAY = datetime(2026, 6, 8, tzinfo=UTC)
"""A Monday in a week without a clock change."""


def moment_words(moment: datetime, zone: ZoneInfo) -> str:
    """Return a moment in words: `Mon 2026-11-30 08:00`."""
    return f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M}"


def plan_words(plan: Plan, timing: Timing, zone: ZoneInfo, mutes: Sequence[Mute] = ()) -> str:
    """Return a plan in words: `at once`, `waits until Mon 2026-11-30 08:00: outside its hours (office)`.

    `mutes` are the active ones.
    """
    why = why_words(plan.why, timing, zone, mutes)
    if plan.state == "left out":
        return f"nothing is sent: {why}"
    if plan.state == "queued" or plan.due is None:
        return "at once"
    when = moment_words(plan.due, zone)
    if plan.in_digest:
        return f"in the digest of {when}{', or an earlier one that waits' if plan.joins else ''}: {why}"
    if plan.limited and not plan.why:
        return f"at once, within its limit ({limit_words(timing)})"
    limited = f", within its limit ({limit_words(timing)})" if plan.limited else ""
    return f"waits until {when}{limited}: {why}"


def why_words(
    why: str, timing: Timing = AT_ONCE, zone: ZoneInfo = _UTC, mutes: Sequence[Mute] = ()
) -> str:
    """Return why a delivery waits or is left out: `outside its hours (office)`.

    Details come from `timing` and `mutes` and are omitted if these lack them.
    """
    for mute in mutes:
        if why == f"{MUTED}{mute.id}":
            return f"muted until {moment_words(mute.until, zone)} by {mute.by}: {mute.because}"
    if why.startswith(MUTED):
        return "muted"
    words, more = {
        HOURS: ("outside its hours", timing.hours.names if timing.hours else ""),
        SKIP: ("outside its hours", timing.hours.names if timing.hours else ""),
        SEND: ("it gets digests", send_words(timing)),
        LIMIT: ("its limit is used up", limit_words(timing)),
        URGENT: ("an urgent rule sends it the chat at once", ""),
        ONCE_PER_VISITOR: ("its rule has notified about this visitor already", ""),
    }.get(why, (why, ""))
    return f"{words} ({more})" if more else words


def limit_words(timing: Timing) -> str:
    """Return the limits of a timing as the rules file writes them: `5 per hour, 1 per 30m per visitor`."""
    return ", ".join(
        f"{limit.count} per {_UNITS.get(limit.per) or span_words(limit.per)}{' per visitor' if limit.per_visitor else ''}"
        for limit in timing.limits
    )


def send_words(timing: Timing) -> str:
    """Return the digest times of a timing: `every 30m, mon-fri 08:00`."""
    return ", ".join(
        f"every {span_words(time.period)}"
        if isinstance(time, Every)
        else f"{days_words(time.days)} {clock_words(time.minute)}"
        for time in timing.send
    )


def span_words(span: timedelta) -> str:
    """Return a duration as the rules file writes it: `1d`, `1h30m`."""
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    parts = zip((minutes // 1440, minutes // 60 % 24, minutes % 60, seconds), "dhms", strict=True)
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def clock_words(minute: int) -> str:
    """Return minutes since midnight as a time: `08:00`."""
    return f"{minute // 60:02}:{minute % 60:02}"


def days_words(days: frozenset[int]) -> str:
    """Return days of the week in words: `mon-fri`, `mon,wed`, `daily`."""
    if len(days) == len(DAYS):
        return "daily"
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(
        f"{DAYS[run[0]]}-{DAYS[run[-1]]}" if len(run) > 2 else ",".join(DAYS[day] for day in run)
        for run in runs
    )


def timing_sentence(name: str, timing: Timing) -> str:
    """Return a sentence that sums up a destination's timing: `sales gets one digest, mon-fri 08:00`."""
    hours = timing.hours.names if timing.hours else ""
    if timing.send:
        words = f"{name} gets {_digests(timing)}"
    elif timing.limits:
        words = f"{name} gets {limit_words(timing)} at once{f' within {hours}' if hours else ''}, the others in a digest"
    else:
        words = f"{name} gets each chat at once within {hours}"
    return f"{words}{_outside(timing)}"


def _outside(timing: Timing) -> str:
    if not timing.hours:
        return ""
    if timing.instead:
        return f"; outside its hours {timing.instead} gets them instead"
    if timing.outside_hours == SKIP:
        return "; what comes outside its hours is left out"
    if timing.send:
        return ""
    form = "in one digest" if timing.outside_hours == "digest" else "one by one"
    return f"; what comes outside its hours waits for the next opening, and is then sent {form}"


def _digests(timing: Timing) -> str:
    every = [each for each in timing.send if isinstance(each, Every)]
    slots = sorted(_slots_of_a_week(timing))
    parts = [f"a digest {span_words(each.period)} after the first chat in it" for each in every]
    if every and timing.hours:
        parts[-1] += f", within {timing.hours.names}"
    if slots:
        by_time: dict[int, set[int]] = {}
        for day, minute in slots:
            by_time.setdefault(minute, set()).add(day)
        times = [f"{days_words(frozenset(days))} {clock_words(at)}" for at, days in by_time.items()]
        parts.append(f"{'one digest' if len(times) == 1 else 'digests'}, {' and '.join(times)}")
    return " and ".join(parts)


def _slots_of_a_week(timing: Timing) -> set[tuple[int, int]]:
    """Return the day and minute of each digest in a normal week, in local time."""
    plain = timing.hours and _without_exceptions(timing.hours)
    at_times = [time for time in timing.send if isinstance(time, At)]
    slots = set()
    for time in at_times:
        moment = _PLAIN_MONDAY - timedelta(days=1)
        while (moment := time.next(moment, timing.zone)) < _PLAIN_MONDAY + timedelta(days=8):
            opening = (plain.next_opening(moment) if plain else None) or moment
            local = opening.astimezone(timing.zone)
            slots.add((local.weekday(), local.hour * 60 + local.minute))
    return slots


def _without_exceptions(schedule: Schedule) -> Schedule:
    also = tuple(_without_exceptions(each) for each in schedule.also)
    return replace(schedule, closed=(), special=(), also=also)

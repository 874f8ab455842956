"""Destinations with hours and limits: what comes in outside of them waits, over restarts, edits and wrong clocks."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from relay.crash_points import CrashPoint
from relay.delivery.retry import LEAST_FAILURES
from relay.outbox.delivery_types import to_ms
from tests.builders import a_hook
from tests.forks import ForkedRelay
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.postgres import PostgresCluster
from tests.running import (
    OFTEN,
    ClockAt,
    MovableClock,
    RunningRelay,
    running_relay,
    settings,
)
from tests.servers import DROP, HttpAnswer

RULES = """\
timezone: Europe/Prague
schedules:
  office: {days: mon-fri, hours: 08:00-17:00}
destinations:
  desk: {email: {to: desk@example.com}, hours: office}
  spare: {email: {to: spare@example.com}}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk}
  - {name: Bad ratings, when: {rating: {less_than: 3}}, send_to: desk, urgent: true}
"""
WITHOUT_HOURS = RULES.replace(", hours: office", "")
FROM_TEN = RULES.replace("08:00-17:00", "10:00-17:00")
ON_SATURDAYS = RULES.replace(
    "destinations:", "  saturday: {days: sat, hours: 09:00-12:00}\ndestinations:"
).replace("hours: office}", "hours: [office, saturday]}")
WITHOUT_RULE = "".join(line for line in RULES.splitlines(keepends=True) if "Missed" not in line)
WITHOUT_DESK = "destinations:" + RULES.partition("destinations:")[2].replace(
    "desk", "spare"
).replace("  spare: {email: {to: spare@example.com}, hours: office}\n", "")
PRAGUE = ZoneInfo("Europe/Prague")
NEW_YORK = ZoneInfo("America/New_York")


def coming_friday() -> datetime:
    """A Friday at 17:05 that is still to come, as commands know only the system's time; in the month after it no zone changes to or from summer time."""
    today = datetime.now(PRAGUE).replace(hour=17, minute=5, second=0, microsecond=0)
    friday = today + timedelta(days=7 - (today.weekday() - 4) % 7)
    while any(
        (friday + timedelta(days=31)).astimezone(zone).utcoffset()
        != friday.astimezone(zone).utcoffset()
        for zone in (PRAGUE, NEW_YORK)
    ):
        friday += timedelta(days=7)
    return friday


FRIDAY = coming_friday()
SATURDAY = FRIDAY.replace(hour=10, minute=0) + timedelta(days=1)
MONDAY = FRIDAY.replace(hour=8, minute=0) + timedelta(days=3)
WAITS = "SELECT state, why, due_at FROM deliveries WHERE rule = 'Missed chats'"


@pytest.fixture
async def ends() -> AsyncIterator[ReceivingServers]:
    async with ReceivingServers() as running:
        yield running


def a_relay(
    folder: Path, ends: ReceivingServers, clock: ClockAt, rules: str = RULES
) -> AbstractAsyncContextManager[RunningRelay]:
    return running_relay(folder, clock=clock, rules=rules, between_looks=OFTEN, **ends.settings)


def scheduled(due: datetime = MONDAY) -> tuple[str, str, int]:
    return ("scheduled", "hours", to_ms(due))


async def test_what_comes_in_on_friday_evening_is_sent_on_monday_with_what_came_later(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    """Over a restart on Saturday; a rule that is urgent does not wait."""
    clock = ClockAt(FRIDAY)
    async with a_relay(tmp_path, ends, clock) as relay:
        assert (await relay.post(a_hook(1, missed=True))).json["deliveries"] == 1
        await relay.until(WAITS, scheduled())
        ready = await relay.ready()
        assert ready["deliveries"] == {"queued": 0, "scheduled": 1, "sending": 0}
        assert ready["oldest_queued_seconds"] == 0
        assert datetime.fromisoformat(ready["next_scheduled"]) == MONDAY
    clock.set(FRIDAY + timedelta(hours=19))
    async with a_relay(tmp_path, ends, clock) as relay:
        await relay.post(a_hook(1, missed=True, rating=1, rating_comment="too slow"))
        (urgent,) = await ends.mail.received(1)
        assert "Bad ratings" in str(urgent.message.as_string())
        await relay.until(WAITS, scheduled())
        clock.set(MONDAY + timedelta(seconds=1))
        mails = await ends.mail.received(2)
        await relay.until("SELECT DISTINCT state FROM deliveries", ("delivered",))
    sent = mails[1].message
    assert abs(parsedate_to_datetime(sent["Date"]) - MONDAY) < timedelta(minutes=1)
    assert "too slow" in sent.as_string()
    assert len(ends.mail.mails) == 2


@pytest.mark.parametrize(
    ("began", "shown"),
    [(FRIDAY - timedelta(minutes=20), "16:45"), (None, "17:05")],
    ids=["began", "arrived"],
)
async def test_the_mail_of_monday_says_when_its_chat_was(
    tmp_path: Path, ends: ReceivingServers, began: datetime | None, shown: str
) -> None:
    """A chat without a time was when its hook came in; a reload on Saturday does not change that."""
    clock = ClockAt(FRIDAY)
    times: dict[str, object] = {
        "beginAt": began and to_ms(began),
        "endAt": began and to_ms(FRIDAY),
        "messages": [],
    }
    async with a_relay(tmp_path, ends, clock) as relay:
        await relay.post(a_hook(1, missed=True, **times))
        await relay.until(WAITS, scheduled())
        clock.set(SATURDAY)
        (tmp_path / "rules.yaml").write_text(FROM_TEN)
        await relay.until(WAITS, scheduled(MONDAY + timedelta(hours=2)))
        clock.set(MONDAY + timedelta(hours=2, seconds=1))
        (mail,) = await ends.mail.received(1)
    for kind in ("plain", "html"):
        text = mail.message.get_body((kind,)).get_content()  # type: ignore[union-attr]
        assert f"{FRIDAY.day} {FRIDAY:%b} {FRIDAY.year}, {shown}" in text


@pytest.mark.parametrize(
    ("rules", "due"),
    [(WITHOUT_HOURS, None), (ON_SATURDAYS, None), (FROM_TEN, MONDAY + timedelta(hours=2))],
)
async def test_a_saved_file_with_other_hours_holds_for_what_waits_already(
    tmp_path: Path, ends: ReceivingServers, rules: str, due: datetime | None
) -> None:
    clock = ClockAt(FRIDAY)
    async with a_relay(tmp_path, ends, clock) as relay:
        await relay.post(a_hook(1, missed=True))
        await relay.until(WAITS, scheduled())
        clock.set(SATURDAY)
        (tmp_path / "rules.yaml").write_text(rules)
        if due is None:
            await ends.mail.received(1)
        else:
            await relay.until(WAITS, scheduled(due))


async def test_what_a_rule_has_planned_is_sent_though_the_rule_is_gone(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = ClockAt(FRIDAY)
    async with a_relay(tmp_path, ends, clock) as relay:
        await relay.post(a_hook(1, missed=True))
    clock.set(SATURDAY)
    async with a_relay(tmp_path, ends, clock, WITHOUT_RULE) as relay:
        await relay.until(WAITS, scheduled())
        clock.set(MONDAY + timedelta(seconds=1))
        await ends.mail.received(1)


# -- servers in trouble ------------------------------------------------------------------------------------

ROOM_RULES = RULES.replace(
    "desk: {email: {to: desk@example.com}",
    "desk: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited",
)
"""The desk is a room in Slack."""
REVOKED = HttpAnswer(status=404, body="no_service")


async def test_a_server_that_works_again_on_saturday_gets_nothing_that_waits_for_monday(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = ClockAt(FRIDAY - timedelta(hours=1))
    states = "SELECT chat_id, state FROM deliveries ORDER BY chat_id"
    ends.at(ROOM, REVOKED)
    async with a_relay(tmp_path, ends, clock, ROOM_RULES) as relay:
        await relay.post(a_hook(1, missed=True))
        await relay.until("SELECT count(*) FROM gates WHERE broken_since IS NOT NULL", (1,))
        clock.set(FRIDAY)
        await relay.post(a_hook(2, missed=True))
        clock.set(SATURDAY)
        await relay.post(a_hook(3, rating=1))
        await relay.until(states, (1, "delivered"), (2, "scheduled"), (3, "delivered"))
        await relay.until("SELECT count(*) FROM gates", (0,))
        assert relay.rows(f"{WAITS} AND chat_id = 2") == [scheduled()]
    clock.set(MONDAY + timedelta(seconds=1))
    async with a_relay(tmp_path, ends, clock, ROOM_RULES) as relay:
        await relay.until(states, (1, "delivered"), (2, "delivered"), (3, "delivered"))
    assert len(ends.posts(ROOM)) == 4  # the first of which was refused


async def test_what_meets_an_outage_at_the_opening_is_given_up_by_its_age_since_then(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    """Slack has a day: it came in three days ago, and is tried since this morning."""
    clock = ClockAt(FRIDAY)
    async with a_relay(tmp_path, ends, clock, ROOM_RULES) as relay:
        await relay.post(a_hook(1, missed=True))
        await relay.until(WAITS, scheduled())
        relay.change("UPDATE deliveries SET failures = ?", LEAST_FAILURES)
    ends.at(ROOM, HttpAnswer(status=408))
    clock.set(MONDAY + timedelta(hours=3))
    async with a_relay(tmp_path, ends, clock, ROOM_RULES) as relay:
        await relay.until("SELECT state, attempts FROM deliveries", ("queued", 1))
        await relay.forward(queued=1, hours=8)
        await relay.post(a_hook(2, offline=True, rating=1))
        await relay.until("SELECT DISTINCT state FROM deliveries", ("delivered",))


MUTED = (
    f"mutes:\n  - {{because: Move, by: Anna, from: {FRIDAY:%Y-%m-%d %H:%M}, until: {MONDAY:%Y-%m-%d %H:%M},"
    " what: {destination: desk}, urgent_too: false}\nrules:"
)


@pytest.mark.parametrize("when_unsure", ["hold", "once", "repeat"])
@pytest.mark.parametrize(
    ("timing", "others"),
    [
        ("hours: office", {"delivered": 1}),
        ("hours: office, outside_hours: digest", {"in digest": 2}),
        ("send: mon 08:00", {"in digest": 2}),
        ("limit: 1 per 62h50m", {"delivered": 1}),
        ("muted", {"in digest": 2}),
    ],
)
async def test_an_answer_that_is_lost_on_monday_has_what_the_rules_say_follow(
    tmp_path: Path, ends: ReceivingServers, timing: str, others: dict[str, int], when_unsure: str
) -> None:
    """Whether a chat waited by itself or in a digest; a repeated attempt asks no hours and no limit again."""
    key = "" if timing == "muted" else f", {timing}"
    rules = ROOM_RULES.replace(", hours: office", f"{key}, when_unsure: {when_unsure}")
    if timing == "muted":
        rules = rules.replace("rules:", MUTED)
    lost = "maybe delivered" if when_unsure == "hold" else "delivered"
    states = "SELECT state, count(*) FROM deliveries WHERE rule <> 'Bad ratings' GROUP BY state ORDER BY state"
    clock = ClockAt(FRIDAY)
    async with a_relay(tmp_path, ends, clock, rules) as relay:
        for chat in (1, 2):
            await relay.post(a_hook(chat, missed=True))
        alone = timing.startswith("limit")
        await relay.until("SELECT count(*) FROM deliveries WHERE state = 'scheduled'", (2 - alone,))
        await relay.until_still()
        ends.at(ROOM, DROP)
        clock.set(MONDAY + timedelta(seconds=1))
        await relay.until("SELECT count(*) FROM deliveries WHERE unsure = 1", (1,))
        clock.forward(minutes=3)
        await relay.post(a_hook(3, rating=1))
        await relay.until(states, *sorted((Counter(others) + Counter({lost: 1})).items()))
        await relay.until_still()
    told = (1 if "in digest" in others else 2) + (when_unsure != "hold")
    assert len(ends.requests(ROOM)) == told + 1  # and the urgent one


async def test_an_alert_is_told_at_night_to_a_destination_with_hours(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    """On Sunday at three; one with digests, too."""
    clock = ClockAt(SATURDAY + timedelta(hours=17))
    rules = ROOM_RULES.replace(", hours: office}", "}").replace(
        "spare@example.com}}", "spare@example.com}, hours: office, send: 09:00}\nalerts_to: spare"
    )
    ends.at(ROOM, REVOKED)
    async with running_relay(
        tmp_path,
        clock=clock,
        rules=rules,
        between_looks=OFTEN,
        **ends.settings,
    ) as relay:
        await relay.post(a_hook(1, missed=True))
        (mail,) = await ends.mail.received(1)
        assert mail.message["Subject"] == "Nothing gets through to desk"


async def test_what_waits_for_a_destination_that_is_gone_is_kept_and_named(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = ClockAt(FRIDAY)
    async with a_relay(tmp_path, ends, clock) as relay:
        await relay.post(a_hook(1, missed=True))
        await relay.until(WAITS, scheduled())
    clock.set(MONDAY + timedelta(hours=1))
    async with a_relay(tmp_path, ends, clock, WITHOUT_DESK) as relay:
        await relay.post(a_hook(2, missed=True))
        await ends.mail.received(1)
        named = (await relay.ready())["destinations_not_in_the_rules"]
        assert "1 delivery waits for it" in named["desk"]
        assert relay.rows(f"{WAITS} AND destination = 'desk'") == [scheduled()]
    async with a_relay(tmp_path, ends, clock) as relay:
        await ends.mail.received(2)


async def test_by_a_clock_that_is_behind_nothing_is_released_until_it_is_set(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    clock = ClockAt(FRIDAY)
    async with a_relay(tmp_path, ends, clock) as relay:
        await relay.post(a_hook(1, missed=True))
        await relay.until(WAITS, scheduled())
    clock.set(datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    async with a_relay(tmp_path, ends, clock) as relay:
        while not (doubt := (await relay.ready())["clock"]):
            pass
        assert "1970-01-01" in doubt
        await relay.until(WAITS, scheduled())
        clock.set(MONDAY + timedelta(minutes=1))
        await ends.mail.received(1)
        assert (await relay.ready())["clock"] is None


SPARE_IN_ITS_HOURS = RULES.replace(
    "desk: {email: {to: desk@example.com}, hours: office}",
    "desk: {email: {to: desk@example.com}, fallback: spare}",
).replace("to: spare@example.com}", "to: spare@example.com}, hours: office, outside_hours: OUTSIDE")


@pytest.mark.parametrize("outside", ["wait", "skip", "digest", "desk"])
async def test_what_fails_at_night_waits_for_the_fallbacks_hours(
    tmp_path: Path, ends: ReceivingServers, outside: str
) -> None:
    """Also where the fallback is not told of what comes in outside them: nobody else would be."""
    clock = ClockAt(FRIDAY)
    ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
    rules = SPARE_IN_ITS_HOURS.replace("OUTSIDE", outside)
    async with a_relay(tmp_path, ends, clock, rules) as relay:
        await relay.post(a_hook(1, missed=True))
        at_spare = f"{WAITS} AND destination = 'spare'"
        await relay.until(at_spare, scheduled())


FEW_AT_THE_SPARE = RULES.replace(
    "desk: {email: {to: desk@example.com}, hours: office}",
    "desk: {email: {to: desk@example.com}, fallback: spare}",
).replace("to: spare@example.com}", "to: spare@example.com}, limit: 1 per hour per visitor")


async def test_what_comes_to_a_fallback_counts_towards_its_limits_per_visitor(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    at_spare = (
        "SELECT state, why, count(*) FROM deliveries WHERE destination = 'spare'"
        " GROUP BY state, why ORDER BY state"
    )
    one, two, held = ("delivered", "", 1), ("delivered", "", 2), ("scheduled", "limit", 1)
    async with a_relay(tmp_path, ends, ClockAt(MONDAY), FEW_AT_THE_SPARE) as relay:
        for chat, (name, said) in enumerate(
            (("jana", (one,)), ("JANA", (one, held)), ("petr", (two, held))), 1
        ):
            ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
            await relay.post(a_hook(chat, missed=True, visitor={"email": f"{name}@example.com"}))
            await relay.until(at_spare, *said)


LIMITED = """\
destinations:
  desk: {email: {to: desk@example.com}, limit: 5 per hour}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk}
  - {name: VIP, when: {offline: true}, send_to: desk, urgent: true}
"""


@pytest.mark.usefixtures("each_store")
async def test_five_an_hour_are_sent_at_once_and_the_rest_waits_for_a_digest(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    """Over a restart too: the window is in the database. Urgent ones pass, and are not counted."""
    states = "SELECT state, why, count(*) FROM deliveries GROUP BY state, why ORDER BY state, why"
    clock = ClockAt(datetime.now(UTC))
    async with a_relay(tmp_path, ends, clock, LIMITED) as relay:
        for chat in range(3):
            await relay.post(a_hook(100 + chat, offline=True))
        for chat in range(6):
            await relay.post(a_hook(chat, missed=True))
        await ends.mail.received(8)
        await relay.until(states, ("delivered", "", 8), ("scheduled", "limit", 1))
    async with a_relay(tmp_path, ends, clock, LIMITED) as relay:
        await relay.post(a_hook(6, missed=True))
        await relay.post(a_hook(103, offline=True))
        await ends.mail.received(9)
        await relay.until(states, ("delivered", "", 9), ("scheduled", "limit", 2))
        (ends_at,) = relay.rows(
            "SELECT min(due_at) - 3600000 - min(window_from) FROM deliveries, limits WHERE state = 'scheduled'"
        )
        assert ends_at == (0,)
        (tmp_path / "rules.yaml").write_text(LIMITED.replace(", limit: 5 per hour", ""))
        await ends.mail.received(11)
    assert len(ends.mail.mails) == 11


async def test_what_a_limit_lets_go_stays_five_though_the_server_refuses_it_for_a_while(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    """Nothing counts as sent that was not, and what is tried again is not counted again."""
    rules = LIMITED.replace(
        "{email: {to: desk@example.com}", "{slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited"
    )
    busy = HttpAnswer(status=429, body="", headers={"Retry-After": "600"})
    states = "SELECT state, why, count(*) FROM deliveries GROUP BY state, why ORDER BY state, why"
    clock = ClockAt(datetime.now(UTC))
    ends.at(ROOM, busy)
    async with a_relay(tmp_path, ends, clock, rules) as relay:
        await relay.post(a_hook(0, missed=True))
        await relay.until("SELECT count(*) FROM gates", (1,))
        for chat in range(1, 7):
            await relay.post(a_hook(chat, missed=True))
        await relay.until(states, ("queued", "", 5), ("scheduled", "limit", 2))
        await relay.forward(queued=5, minutes=11)
        await relay.post(a_hook(7, missed=True))
        await relay.post(a_hook(8, offline=True))
        await relay.until(states, ("delivered", "", 6), ("scheduled", "limit", 3))
    assert len(ends.posts(ROOM)) == 7  # the first of which was refused


async def test_a_relay_whose_clock_is_ahead_of_the_servers_waits_for_no_limit(
    tmp_path: Path, ends: ReceivingServers, cluster: PostgresCluster
) -> None:
    clock, name = MovableClock(minutes=10), cluster.new_database(with_tables=True)
    for chat in (1, 2):  # the second relay finds a hook that is later than the server's clock
        async with running_relay(
            tmp_path,
            rules=LIMITED,
            clock=clock,
            **ends.settings,
            RELAY_DATABASE=cluster.url(name),
        ) as relay:
            await relay.post(a_hook(chat, missed=True))
            await ends.mail.received(chat)
            assert (await relay.ready())["clock"] is None


@pytest.mark.long
async def test_relays_that_share_a_server_release_each_delivery_once_though_one_dies(
    tmp_path: Path, ends: ReceivingServers, cluster: PostgresCluster
) -> None:
    name = cluster.new_database()
    variables = settings(tmp_path, rules=MANY, **ends.settings, RELAY_DATABASE=cluster.url(name))

    def ask(question: str) -> list[tuple[object, ...]]:
        return cluster.rows(name, question)

    async with running_relay(
        tmp_path, rules=MANY, **ends.settings, RELAY_DATABASE=cluster.url(name)
    ) as relay:
        for chat in range(200):
            assert (await relay.post(a_hook(chat, missed=True))).status == 202
    assert ask("SELECT state, count(*) FROM deliveries GROUP BY state") == [("scheduled", 200)]
    at_all_times = MANY.replace(", hours: other_days", "")
    (tmp_path / "rules.yaml").write_text(at_all_times, encoding="utf-8")
    # A mute's end is not in the rules: it stays where these are read anew.
    hold = "UPDATE deliveries SET state = 'scheduled', due_at = 1, why = 'muted:1'"
    with cluster.admin(name) as connection:
        connection.execute(hold)
    dying = ForkedRelay(variables, CrashPoint.RELEASED)
    try:
        await dying.url()
        assert await dying.end() == -signal.SIGKILL
    finally:
        dying.close()
    assert ask("SELECT state, count(*) FROM deliveries GROUP BY state") == [("queued", 200)]
    with cluster.admin(name) as connection:  # as if it had died halfway
        connection.execute(f"{hold} WHERE id % 2 = 0")
    relays = [ForkedRelay(variables), ForkedRelay(variables)]
    try:
        for one in relays:
            await one.url()
        for count in range(5, 201, 5):  # each has its own deadline
            await ends.posted(ROOM, count)
        delivered = "SELECT count(*) FROM deliveries WHERE state = 'delivered'"
        while await asyncio.to_thread(ask, delivered) != [(200,)]:
            pass
    finally:
        for one in relays:
            one.close()
    assert len(ends.posts(ROOM)) == 200


MANY = """\
schedules:
  other_days: {days: DAY}
destinations:
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited, hours: other_days}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room}
""".replace(
    "DAY", ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][(datetime.now(UTC).weekday() + 3) % 7]
)

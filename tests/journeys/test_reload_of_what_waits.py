"""A rules file is saved while chats wait for their time, whatever for: nothing is lost, nothing is told twice."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.outbox.delivery_types import to_ms
from tests.builders import a_hook
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.journeys.test_hours import FRIDAY, MONDAY, SATURDAY
from tests.journeys.test_reload import saves
from tests.running import OFTEN, ClockAt, RunningRelay, running_relay, settings

pytestmark = pytest.mark.usefixtures("each_store_at_length")

HOUR = "%Y-%m-%d %H:00"
FIVE, NINE, EIGHT = (
    f"{FRIDAY:{HOUR}}",
    f"{SATURDAY - timedelta(hours=1):{HOUR}}",
    f"{MONDAY:{HOUR}}",
)
RULES = """\
timezone: Europe/Prague
schedules:
  office: {days: mon-fri, hours: 08:00-17:00}
destinations:
  boss: {email: {to: boss@example.com}}
  closed: {email: {to: closed@example.com}, hours: office}
  collects: {email: {to: collects@example.com}, send: mon-fri 08:00}
  limited: {email: {to: limited@example.com}, limit: 1 per 40h}
  muted: {email: {to: muted@example.com}}
  once: {email: {to: once@example.com}}
alerts_to: boss
mutes:
  - {because: Move, by: Anna, from: FIVE, until: EIGHT, what: {destination: muted}}
rules:
  - {name: Missed, when: {missed: true}, send_to: [closed, collects, limited, muted]}
  - {name: Once, when: {missed: true}, send_to: once, once_per: {visitor: 62h}}
""".replace("FIVE", FIVE).replace("EIGHT", EIGHT)
NAMES = ("closed", "collects", "limited", "muted", "once")
CHATS = 3
STATES = "SELECT destination, state, count(*) FROM deliveries GROUP BY destination, state ORDER BY destination, state"
DUE = "SELECT DISTINCT destination, due_at / 1000 FROM deliveries WHERE state = 'scheduled'"
WAITING = "SELECT count(*) FROM deliveries WHERE state IN ('scheduled', 'queued', 'sending')"
ASKED = "SELECT count(*) FROM deliveries WHERE destination LIKE 'limited%' AND state = 'scheduled' AND NOT in_digest"
MUTED = f"SELECT count(*) FROM mutes WHERE ended_at IS NULL AND until_at > {to_ms(SATURDAY)}"  # noqa: S608 - a number
STRANDED = (
    "SELECT count(*) FROM deliveries WHERE state = 'scheduled' AND destination NOT LIKE '%-2'"
)
EACH_ONCE = """
    SELECT destination, chat_id, count(*) FROM deliveries WHERE state IN ('delivered', 'in digest')
    AND chat_id IN (SELECT id FROM chats WHERE account <> '') GROUP BY destination, chat_id HAVING count(*) > 1
"""


def to_slack(rules: str) -> str:
    return re.sub(r"\{email: \{to: (?!boss)[^}]+\}", "{slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited", rules)  # fmt: skip


def to_others(rules: str) -> str:
    return re.sub(r"to: (?!boss)(\w+)@", r"to: new-\1@", rules)


def renamed(rules: str) -> str:
    for name in NAMES:
        rules = re.sub(rf"\b{name}\b(?!@)", f"{name}-2", rules)
    return rules


def at_once(rules: str) -> str:
    rules = re.sub(r", (hours: office|send: [^}]*|limit: [^}]*)\}", "}", rules)
    return re.sub(r"mutes:\n.*\n", "", rules).replace(", once_per: {visitor: 62h}", "")


def overdue(rules: str) -> str:
    return (
        rules.replace("days: mon-fri", "days: sat").replace("send: mon-fri 08:00", "send: sat 08:00")
        .replace(f"until: {EIGHT}", f"until: {NINE}").replace("limit: 1 per 40h", "limit: 9 per 40h")
    )  # fmt: skip


def elsewhere(rules: str) -> str:
    return rules.replace("Europe/Prague", "America/New_York")


@pytest.fixture
async def ends() -> AsyncIterator[ReceivingServers]:
    async with ReceivingServers() as found:
        yield found


def started(folder: Path, ends: ReceivingServers, clock: ClockAt, rules: str) -> Any:
    return running_relay(folder, rules=rules, clock=clock, between_looks=OFTEN, **ends.settings)


def told(ends: ReceivingServers) -> Counter[str]:
    """How many mails each address got."""
    return Counter(mail.recipients[0].partition("@")[0] for mail in ends.mail.mails)


@pytest.mark.parametrize("once_per", [False, True])
async def test_what_is_held_back_follows_a_change_of_the_hours(
    tmp_path: Path, ends: ReceivingServers, once_per: bool
) -> None:
    """The mute, or the time of `once_per`, ended on Saturday at nine; on Monday at eight it would come with the hours."""
    rules = """\
timezone: Europe/Prague
schedules:
  office: {days: mon-fri, hours: 08:00-17:00}
destinations:
  desk: {email: {to: desk@example.com}, hours: office}
"""
    mute = f"{{because: Move, by: Anna, from: {FIVE}, until: {NINE}, what: {{destination: desk}}}}"
    rules += "" if once_per else f"mutes:\n  - {mute}\n"
    rule = "{name: Missed, when: {missed: true}, send_to: desk}"
    rules += f"rules:\n  - {rule.replace('}, ', '}, once_per: {visitor: 16h}, ') if once_per else rule}\n"
    clock, waits = ClockAt(FRIDAY), 1 + once_per
    async with started(tmp_path, ends, clock, rules) as relay:
        for number in range(waits):  # the first begins the time of `once_per`
            await relay.post(a_hook(number, missed=True))
        await relay.until(WAITING, (waits,))
        assert relay.rows(DUE) == [("desk", int(MONDAY.timestamp()))]
        (tmp_path / "rules.yaml").write_text(rules.replace("08:00-17:00", "10:00-17:00"))
        await relay.until(DUE, ("desk", int(MONDAY.timestamp()) + 7200))
        clock.set(SATURDAY)
        (tmp_path / "rules.yaml").write_text(rules.replace(", hours: office", ""))
        await ends.mail.received(waits)


async def comes_in(relay: RunningRelay) -> None:
    """Of three chats of one visitor at five on Friday, the limit and once_per let one go."""
    for chat in range(CHATS):
        await relay.post(a_hook(chat, missed=True, visitor={"email": "jana@example.com"}))
    await relay.until(
        STATES,
        ("closed", "scheduled", 3),
        ("collects", "scheduled", 3),
        ("limited", "delivered", 1),
        ("limited", "scheduled", 2),
        ("muted", "scheduled", 3),
        ("once", "delivered", 1),
        ("once", "scheduled", 2),
    )


AT_ONCE = {"limited": 1, "once": 1}
"""What was sent before the rules are others."""
LATER = {"closed": 4, "collects": 1, "limited": 1, "muted": 1, "once": 1}
"""One chat comes in afterwards. All are told by themselves or in one digest."""
ANEW = {"limited": 2, "once": 2}
"""Whom it was to reach then and whom it reaches now each have a limit and a time of `once_per` of their own."""


@pytest.mark.parametrize("is_off", [False, True], ids=["saved", "restarted"])
@pytest.mark.parametrize(
    ("change", "changed", "waiting"),
    [
        (to_slack, ANEW, 16),
        (to_others, ANEW, 16),
        (elsewhere, {}, 18),
        # The digest of what waited, and the new one by itself; of those that asked a limit, each.
        (at_once, {"collects": 2, "limited": 3, "muted": 2, "once": 2}, 2),
        (overdue, {"collects": 2, "limited": 3, "muted": 2}, 4),
    ],
)
async def test_what_waits_is_told_once_by_the_rules_as_they_are_now(
    tmp_path: Path,
    ends: ReceivingServers,
    change: Callable[[str], str],
    changed: dict[str, int],
    waiting: int,
    *,
    is_off: bool,
) -> None:
    clock, rules = ClockAt(FRIDAY), change(RULES)
    async with started(tmp_path, ends, clock, RULES) as relay:
        await comes_in(relay)
        if not is_off:
            clock.set(SATURDAY)
            await saves(relay, rules)
            # A chat that comes in before its mute has ended is in that mute's digest.
            await relay.until(MUTED, (int(change not in (at_once, overdue)),))
            await goes_on(relay, clock, waiting)
    if is_off:
        clock.set(SATURDAY)
        async with started(tmp_path, ends, clock, rules) as relay:
            await goes_on(relay, clock, waiting)
    later = LATER | changed
    if change is to_slack:
        assert (told(ends), len(ends.posts(ROOM))) == (AT_ONCE, sum(later.values()))
    elif change is to_others:
        assert told(ends) == AT_ONCE | {f"new-{name}": count for name, count in later.items()}
    else:
        assert told(ends) == Counter(AT_ONCE) + Counter(later)


def in_hours(after: datetime) -> datetime:
    """A Monday some days later, at three in Prague and nine in New York."""
    weeks = max((after - MONDAY) // timedelta(days=7), 0) + 2
    return MONDAY + timedelta(days=7 * weeks, hours=7)


async def goes_on(relay: RunningRelay, clock: ClockAt, waiting: int) -> None:
    """Another chat comes in: when its limit was asked, all that waited has been planned anew."""
    await relay.post(a_hook(CHATS, missed=True, visitor={"email": "jana@example.com"}))
    await relay.until(WAITING, (waiting,))
    await relay.until(ASKED, (0,))
    await relay.until_still()
    clock.set(in_hours(MONDAY))
    await relay.until(WAITING, (0,))
    assert relay.rows(EACH_ONCE) == []


async def test_what_waits_for_a_digest_joins_that_of_whoever_is_the_recipient_now(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    """First to one, then to two others, then to the first and one of those: each of them gets one digest, of all chats."""
    rules = """\
timezone: Europe/Prague
destinations:
  board: {email: {to: [ana]}, send: mon 08:00}
mutes:
  - {because: Move, by: Anna, from: FIVE, until: EIGHT, what: {destination: board}}
rules:
  - {name: Missed, when: {missed: true}, send_to: board}
""".replace("FIVE", FIVE).replace("EIGHT", EIGHT)
    clock = ClockAt(FRIDAY)

    def to(*names: str) -> str:
        addresses = ", ".join(f"{name}@example.com" for name in names)
        return rules.replace("to: [ana]", f"to: [{addresses}]")

    async with started(tmp_path, ends, clock, to("ana")) as relay:
        for chat in range(3):
            await relay.post(a_hook(chat, missed=True))
        await relay.until(STATES, ("board", "scheduled", 3))
        await saves(relay, to("bob", "cyd"))
        await relay.until(STATES, ("board", "moved", 3), ("board", "scheduled", 6))
        await relay.post(a_hook(3, missed=True))
        clock.set(SATURDAY)
        await saves(relay, to("ana", "cyd"))
        await relay.until(STATES, ("board", "moved", 4), ("board", "scheduled", 8))
        assert relay.rows("SELECT matched FROM mutes") == [(5,)]
        clock.set(MONDAY)
        await ends.mail.received(2)
        await relay.until(WAITING, (0,))
    assert told(ends) == {"ana": 1, "cyd": 1}
    assert all(mail.message["Subject"].startswith("4 ") for mail in ends.mail.mails)


async def test_another_time_zone_moves_what_waits(tmp_path: Path, ends: ReceivingServers) -> None:
    clock = ClockAt(FRIDAY)
    async with started(tmp_path, ends, clock, RULES) as relay:
        await comes_in(relay)
        await saves(relay, elsewhere(RULES))
        eight = int((MONDAY + timedelta(hours=6)).timestamp())
        await relay.until(f"{DUE} AND destination = 'collects'", ("collects", eight))


async def test_what_waits_for_a_destination_that_is_renamed_is_told_of_and_can_be_moved(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    """`relay move-deliveries` sends it when the other destination is told. It goes by the system's time, which is after this Friday."""
    weeks = timedelta(days=7 * (1 + (FRIDAY - datetime.now(UTC)) // timedelta(days=7)))
    clock = ClockAt(FRIDAY - weeks)
    before = RULES.replace(FIVE, f"{FRIDAY - weeks:{HOUR}}").replace(
        EIGHT, f"{MONDAY - weeks:{HOUR}}"
    )
    rules = renamed(before)
    async with started(tmp_path, ends, clock, before) as relay:
        await comes_in(relay)
        await saves(relay, rules)
        await relay.until("SELECT count(*) FROM troubles WHERE kind = 'destination removed'", (5,))
        await relay.until(STRANDED, (13,))
        await relay.forward(minutes=2)
        await ends.mail.until(lambda: told(ends)["boss"] >= 1)
        for name in NAMES:
            done = await command(
                settings(tmp_path, rules=rules), "move-deliveries", name, f"{name}-2", "--yes"
            )
            assert done.status == 0, done.err
        await relay.until(STRANDED, (0,))
    now = max(clock(), datetime.now(UTC))
    clock.set(now)
    async with started(tmp_path, ends, clock, rules) as relay:
        await relay.until(ASKED, (0,))
        clock.set(in_hours(now))
        await relay.until(WAITING, (0,))
        assert relay.rows(EACH_ONCE) == []
    moved = "SELECT count(*) FROM deliveries WHERE state IN ('delivered', 'in digest') AND destination LIKE '%-2' AND rule <> 'digest'"
    assert relay.rows(moved) == [(13,)]

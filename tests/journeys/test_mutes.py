"""`relay mute`: what a rule or a destination tells is held back for a while, and nothing is lost."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from relay.outbox.delivery_types import to_ms
from relay.rules.schedule_parser import next_moment
from tests.builders import a_hook
from tests.cli.commands import Said
from tests.cli.commands import relay as command
from tests.journeys.receiving_servers import ROOM, TEAM, ReceivingServers
from tests.running import OFTEN, MovableClock, RunningRelay, running_relay, settings

pytestmark = pytest.mark.usefixtures("each_store_at_length")

RULES = """\
timezone: Europe/Prague
destinations:
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room, template: missed}
  - {name: Offline, when: {offline: true}, send_to: room, urgent: true, template: offline}
"""
HELD = "SELECT rule, state, why, count(*) FROM deliveries GROUP BY rule, state, why ORDER BY rule, state, why"
TOLD = "SELECT count(*) FROM deliveries WHERE state = 'delivered' AND rule = 'Missed chats' AND why = ''"
COUNT = "SELECT count(*) FROM deliveries WHERE why = "
NEVER = "SELECT id FROM mutes WHERE ended_at IS NULL ORDER BY id"


@pytest.fixture
async def ends() -> AsyncIterator[ReceivingServers]:
    async with ReceivingServers() as ends:
        yield ends


async def said(folder: Path, *arguments: str, rules: str = RULES) -> Said:
    return await command(settings(folder, rules=rules), *arguments)


async def mute(folder: Path, *arguments: str, rules: str = RULES) -> Said:
    done = await said(folder, "mute", *arguments, "--because", "spam", "--by", "Anna", rules=rules)
    assert done.status == 0, done.err
    return done


def started(folder: Path, ends: ReceivingServers, rules: str = RULES, **more: Any) -> Any:
    return running_relay(folder, rules=rules, between_looks=OFTEN, **ends.settings, **more)


OTHER_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][
    (datetime.now(UTC).weekday() + 3) % 7
]
ALERTS = """\
schedules:
  other_days: {{days: {TODAY}, hours: 03:00-03:01}}
destinations:
  room: {{slack: {{webhook: $ROOM_WEBHOOK}}, rate: unlimited}}
  desk: {{email: {{to: desk@example.com}}, hours: other_days, limit: 1 per hour}}
alerts_to: [room, desk]
rules:
  - {{name: Missed chats, when: {{missed: true}}, send_to: [room, desk]}}
  - {{name: Offline, when: {{offline: true}}, send_to: room}}
"""
OWNER = 'to: "{{ visitor.variables.owner }}"'
FALLBACK = """\
recipient_domains: [example.com]
destinations:
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
  desk: {email: {to: desk@example.com}, fallback: room}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk}
"""


class Posts:
    """New chats, one after another."""

    def __init__(self, relay: RunningRelay, first: int = 1) -> None:
        self.relay, self.number = relay, first - 1

    async def __call__(self, **changes: Any) -> None:
        self.number += 1
        await self.relay.post(a_hook(self.number, **changes))

    async def until_held(self, why: str) -> int:
        """Posts missed chats until one is held back; returns how many are. A mute is in force within two seconds."""
        while True:
            await self(missed=True)
            rows = self.relay.rows(COUNT + f"'{why}'")
            if rows != [(0,)]:
                return int(rows[0][0])


async def test_a_muted_rules_chats_wait_for_one_digest_at_the_end_and_then_are_told_again(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    async with started(tmp_path, ends) as relay:
        post = Posts(relay)
        done = await mute(tmp_path, "Missed chats", "--for", "3h")
        assert "In the last 7 days it would have held back 0 chats (0 notifications)." in done.out
        assert "Mute 1 is in force: the rule “Missed chats”, until " in done.out
        await post.until_held("muted:1")
        await post(missed=True)
        (due, until, matched) = relay.rows(
            "SELECT max(due_at), max(until_at), max(matched) FROM deliveries, mutes "
            "WHERE why = 'muted:1' AND state = 'scheduled' AND in_digest"
        )[0]
        assert (due, matched) == (until, 2)
        listed = (await said(tmp_path, "mutes")).out
        assert "1  the rule “Missed chats”: until " in listed
        assert "by Anna: spam; held back so far: 2" in listed
        ended = await said(tmp_path, "unmute", "1", "--by", "Petr")
        assert ended.out == "Mute 1 is ended; it had held back 2 deliveries.\n"
        (due,) = relay.rows("SELECT max(due_at) FROM deliveries WHERE why = 'muted:1'")[0]
        assert due < until
        assert (await said(tmp_path, "mutes")).out == "Nothing is muted.\n"
        every = (await said(tmp_path, "mutes", "--all", "--json")).json
        assert [(one["id"], one["ended_by"], one["lasts"]) for one in every] == [(1, "Petr", False)]
        assert (await said(tmp_path, "unmute", "1")).status == 1
        await relay.until(
            "SELECT state, count(*) FROM deliveries WHERE why = 'muted:1' GROUP BY state",
            ("in digest", 2),
        )
        while relay.rows(TOLD) == [(0,)]:
            await post(missed=True)
        assert relay.rows("SELECT count(*) FROM digests") == [(1,)]


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FOUR = """\
timezone: Europe/Prague
destinations:
  mail: {email: {to: desk@example.com}, rate: unlimited}
  room: {slack: {webhook: $ROOM_WEBHOOK}, language: cs, rate: unlimited}
  team: {teams: {webhook: $TEAMS_MANAGERS_WEBHOOK}, language: de, rate: unlimited}
  crm: {webhook: {url: $CRM_URL, secret: $CRM_SECRET}, language: es, rate: unlimited}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: [mail, room, team, crm], template: missed}
"""


async def test_a_chats_own_notification_after_a_mute_says_at_its_foot_why_it_comes_only_now(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    more = {"CRM_URL": ends.web.url("/crm"), "CRM_SECRET": SECRET}
    environment = settings(tmp_path, rules=FOUR, **{**ends.settings, **more})
    async with started(tmp_path, ends, FOUR, **more):
        what = ("Missed chats", "--for", "3h", "--because", "a <b>wave</b>", "--by", "Anna")
        assert (await command(environment, "mute", *what)).status == 0
    async with started(tmp_path, ends, FOUR, **more) as relay:
        await relay.post(a_hook(1, missed=True))
        assert (await command(environment, "unmute", "1", "--by", "Petr")).status == 0
        ((until,),) = relay.rows("SELECT ended_at FROM mutes")
        foot = " Anna: a <b>wave</b>"
        (mail,) = (one.message for one in await ends.mail.received(1))
        text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
        assert re.search(f"^Was muted until .* by{foot}\r?$", text, re.MULTILINE)
        assert "Anna: a &lt;b&gt;wave&lt;/b&gt;</p>\n</body>" in html.replace("\r", "")
        (post,) = await ends.posted(ROOM, 1)
        assert re.search(
            r"^Do .* ztlumil\(a\) Anna: a &lt;b&gt;wave&lt;/b&gt;$", post, re.MULTILINE
        )
        (card,) = await ends.posted(TEAM, 1)
        assert re.search(f"^War bis .* von Anna stummgeschaltet:{foot[6:]}$", card, re.MULTILINE)
        await ends.web.until(lambda: bool(ends.requests("/crm")))
        body = ends.requests("/crm")[0].json()
        at = datetime.fromtimestamp(until / 1000, UTC)
        muted = body["data"]["muted"]
        assert (muted["by"], muted["because"]) == ("Anna", "a <b>wave</b>")
        assert datetime.fromisoformat(muted["until"]) == at


async def test_what_a_mute_held_back_is_in_the_next_digest_of_a_destination_that_has_times_for_them(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    rules = RULES.replace("rate: unlimited", "rate: unlimited, send: 08:00")
    async with started(tmp_path, ends, rules):
        await mute(tmp_path, "Missed chats", "--for", "30d", rules=rules)
    async with started(tmp_path, ends, rules) as relay:
        await relay.post(a_hook(1, missed=True))
        assert (await said(tmp_path, "unmute", "1", rules=rules)).status == 0
        ((due, until),) = relay.rows("SELECT due_at, until_at FROM deliveries, mutes")
        assert due < until
        local = datetime.fromtimestamp(due / 1000, ZoneInfo("Europe/Prague"))
        assert f"{local:%H:%M:%S}" == "08:00:00"


async def test_with_then_nothing_they_are_left_out_and_the_history_says_so(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    async with started(tmp_path, ends) as relay:
        await mute(tmp_path, "--destination", "room", "--for", "3h", "--then", "nothing", "--yes")
        held = await Posts(relay).until_held("muted:1")
        assert relay.rows(
            "SELECT count(*) FROM deliveries WHERE state = 'left out' AND settled_at IS NOT NULL"
        ) == [(held,)]
        assert relay.rows("SELECT matched FROM mutes") == [(held,)]


async def test_it_is_in_force_after_a_restart_and_ends_by_itself(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    async with started(tmp_path, ends):
        await mute(tmp_path, "Missed chats", "--for", "3h")
    async with started(tmp_path, ends, clock=MovableClock()) as relay:
        await relay.post(a_hook(1, missed=True))  # the very first
        assert relay.rows(HELD) == [("Missed chats", "scheduled", "muted:1", 1)]
        await relay.forward(hours=3)
        await relay.post(a_hook(2, missed=True))
        await relay.until(f"{HELD} LIMIT 1", ("Missed chats", "delivered", "", 1))


@pytest.mark.parametrize(
    ("arguments", "is_held"),
    [
        (("--destination", "room"), False),
        (("--destination", "room", "--urgent-too"), True),
        (("Offline",), True),
        (("--when", "{visitor.email: {ends_with: '@example.com'}}"), False),
        (("--when", "visitor.email: {ends_with: '@example.com'}", "--urgent-too"), True),
        (("--when", "{visitor.email: x@example.org}", "--urgent-too"), False),
    ],
)
async def test_urgent_rules_are_told_unless_they_are_meant(
    tmp_path: Path, ends: ReceivingServers, arguments: tuple[str, ...], *, is_held: bool
) -> None:
    async with started(tmp_path, ends):
        await mute(tmp_path, *arguments, "--for", "3h", "--yes")
    async with started(tmp_path, ends) as relay:
        await relay.post(a_hook(1, offline=True))
        expected = ("scheduled", "muted:1") if is_held else ("delivered", "")
        await relay.until("SELECT state, why FROM deliveries", expected)


MUTES = """\
mutes:
  - because: Warehouse move
    by: Anna
    from: 2020-01-01 08:00
    until: %s
    what: {when: {missed: true}}
"""


async def test_a_mute_of_the_rules_file_ends_when_it_is_taken_out(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    with_mute = RULES + MUTES % "2099-01-01 08:00"
    async with started(tmp_path, ends, with_mute) as relay:
        await relay.post(a_hook(1, missed=True))
        assert relay.rows(HELD) == [("Missed chats", "scheduled", "muted:1", 1)]
        assert "; of the rules file" in (await said(tmp_path, "mutes", rules=with_mute)).out
        refused = await said(tmp_path, "unmute", "1", rules=with_mute)
        assert refused.status == 1
        assert "stands in the rules file" in refused.err
        (tmp_path / "rules.yaml").write_text(RULES, "utf-8")
        await relay.until("SELECT ended_by FROM mutes", ("rules file",))
        await relay.until(HELD, ("Missed chats", "delivered", "muted:1", 1))
        (tmp_path / "rules.yaml").write_text(with_mute, "utf-8")
        await relay.until(NEVER, (1,))


async def test_a_mute_of_the_rules_file_that_is_edited_holds_on_to_what_it_held_back(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    with_mute = RULES + MUTES % "2099-01-01 08:00"
    async with started(tmp_path, ends, with_mute) as relay:
        await relay.post(a_hook(1, missed=True))
        edited = RULES + MUTES.replace("Warehouse", "The warehouse") % "2098-01-01 08:00"
        (tmp_path / "rules.yaml").write_text(edited, "utf-8")
        until = to_ms(datetime(2098, 1, 1, 7, tzinfo=UTC))
        await relay.until("SELECT until_at FROM mutes WHERE ended_at IS NULL", (until,))
        await relay.until("SELECT state, due_at FROM deliveries", ("scheduled", until))
        (tmp_path / "rules.yaml").write_text(RULES, "utf-8")
        await ends.posted(ROOM, 1)


async def test_what_waits_already_is_held_back_too_where_it_is_asked_for(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    async with started(tmp_path, ends) as relay:
        await said(tmp_path, "pause", "room", "--because", "so that it waits")
        while (await relay.ready())["destinations"]["room"]["state"] != "paused":
            pass
        await relay.post(a_hook(1, missed=True))
        await relay.post(a_hook(2, offline=True))
        done = await mute(tmp_path, "Missed chats", "--for", "3h", "--also-waiting")
        assert "would have held back 1 chat (1 notification)." in done.out
        assert "1 delivery that waited is held back as well." in done.out
        assert relay.rows(HELD) == [
            ("Missed chats", "scheduled", "muted:1", 1),
            ("Offline", "queued", "", 1),
        ]
        assert relay.rows("SELECT matched FROM mutes") == [(1,)]
        assert ends.posts(ROOM) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("Missed chats", "--for", "2h"), "Missing option '--because'"),
        (("Missed chats", "--because", "x"), "say when it ends: --until TIME or --for 2h"),
        (("--because", "x", "--for", "2h"), "say what to mute: RULE, --destination NAME or --when"),
        (("Mised chats", "--because", "x", "--for", "2h"), "did you mean Missed chats?"),
        (("--destination", "rom", "--because", "x", "--for", "2h"), "did you mean room?"),
        (("Missed chats", "--because", "x", "--for", "32d"), "lasts at most 31 days"),
        (("--when", "{mised: true}", "--because", "x", "--for", "2h"), "did you mean missed?"),
        (("--when", "{", "--because", "x", "--for", "2h"), "--when: "),
    ],
)
async def test_what_can_not_be_meant_is_refused(
    tmp_path: Path, ends: ReceivingServers, arguments: tuple[str, ...], says: str
) -> None:
    async with started(tmp_path, ends) as relay:
        done = await said(tmp_path, "mute", *arguments)
        assert done.status == 2
        assert says in done.err
        assert relay.rows("SELECT count(*) FROM mutes") == [(0,)]


async def test_a_whole_destination_is_muted_only_after_a_question(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    async with started(tmp_path, ends) as relay:
        asked = ("mute", "--destination", "room", "--for", "2h", "--because", "x")
        done = await said(tmp_path, *asked)
        assert done.status == 1
        assert "Mute the destination “room”?" in done.out
        assert relay.rows("SELECT count(*) FROM mutes") == [(0,)]
        assert (
            "“Offline” is an urgent rule: told all the same; --urgent-too holds it back" in done.out
        )
        done = await said(tmp_path, *asked, "--urgent-too")
        assert "“Offline” is an urgent rule: held back as well." in done.out
        done = await said(tmp_path, *asked, "--yes", "--json")
        assert done.json["mute"] == 1
        assert "urgent" in done.err


@pytest.mark.long  # three times it waits for the watch, which looks every 5 s
async def test_a_long_mute_reminds_each_week_and_an_hour_before_its_end(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    rules = RULES.replace(
        "rules:", "  desk: {email: {to: desk@example.com}}\nalerts_to: desk\nrules:"
    )
    count = "SELECT count(*) FROM chats WHERE chat LIKE 'still muted%'"
    async with started(tmp_path, ends, rules, clock=MovableClock()) as relay:
        await mute(tmp_path, "Missed chats", "--for", "20d", rules=rules)
        for hours, number in ((7 * 24 + 1, 1), (7 * 24, 2), (6 * 24 - 1.5, 3)):
            await relay.forward(hours=hours)
            await relay.until(count, (number,))
        (mail, *_) = await ends.mail.received(3)
        assert mail.message["Subject"] == "Still muted: Missed chats"
        assert "Anna: spam" in mail.message.as_string()


@pytest.mark.parametrize("then", ["digest", "nothing"])
async def test_alerts_to_a_muted_destination_wait_for_its_end_only_where_the_mute_says_so(
    tmp_path: Path, ends: ReceivingServers, then: str
) -> None:
    """By themselves, whatever the hours are then; with `then: nothing` they are left out."""
    rules = ALERTS.format(TODAY=OTHER_DAYS)
    alerts = "SELECT destination, state, why FROM deliveries WHERE rule = 'alert' ORDER BY id"
    async with started(tmp_path, ends, rules, clock=MovableClock()) as relay:
        to_desk = ("--destination", "desk", "--for", "20d", "--then", then, "--yes")
        await mute(tmp_path, "--destination", "room", "--for", "2h", "--yes", rules=rules)
        await mute(tmp_path, *to_desk, "--alerts-too", rules=rules)
        assert "; alerts too" in (await said(tmp_path, "mutes", rules=rules)).out
        await relay.forward(hours=7 * 24 + 1)
        await relay.until(f"{alerts} LIMIT 1", ("room", "delivered", ""))
        state = "left out" if then == "nothing" else "scheduled"
        assert relay.rows(alerts)[1:] == [("desk", state, "muted:2")]
        assert ends.mail.mails == []
        offline = ("Offline", "--alerts-too", "--for", "2h", "--because", "x")
        refused = await said(tmp_path, "mute", *offline, rules=rules)
        assert "--alerts-too is for --destination NAME alone" in refused.err
        assert (await said(tmp_path, "unmute", "2", rules=rules)).status == 0
        if then == "digest":
            (mail,) = await ends.mail.received(1)
            assert mail.message["Subject"] == "Still muted: desk"
            assert "Was muted until" in mail.message.as_string()


async def test_a_destination_that_is_muted_is_not_told_as_a_fallback_either(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    ends.mail.at("rcpt", "550 5.1.1 nobody of that name", times=None)
    states = "SELECT destination, state, why FROM deliveries ORDER BY id"
    async with started(tmp_path, ends, FALLBACK):
        await mute(tmp_path, "--destination", "room", "--for", "3h", "--yes", rules=FALLBACK)
    async with started(tmp_path, ends, FALLBACK) as relay:
        await relay.post(a_hook(1, missed=True))
        await relay.until(states, ("desk", "failed", ""), ("room", "scheduled", "muted:1"))
        assert relay.rows("SELECT matched FROM mutes") == [(1,)]
        assert (await said(tmp_path, "unmute", "1", rules=FALLBACK)).status == 0
        (post,) = await ends.posted(ROOM, 1)
        assert "instead of desk" in post


async def test_a_muted_destination_that_reaches_nobody_does_not_pass_it_to_its_fallback(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    rules = FALLBACK.replace("to: desk@example.com", OWNER)
    async with started(tmp_path, ends, rules):
        await mute(tmp_path, "--destination", "desk", "--for", "3h", "--yes", rules=rules)
    async with started(tmp_path, ends, rules) as relay:
        await relay.post(a_hook(1, missed=True))
        states = "SELECT destination, state, why FROM deliveries"
        assert relay.rows(states) == [("room", "scheduled", "muted:1")]


async def test_erasing_a_visitor_ends_a_mute_that_names_the_address_and_takes_it_out(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    async with started(tmp_path, ends) as relay:
        marta = "{visitor.email: marta@example.com}"
        await mute(tmp_path, "--when", marta, "--for", "3h", "--yes")
        await mute(tmp_path, "--when", "{visitor.email: petr@example.com}", "--for", "3h", "--yes")
        exported = (await said(tmp_path, "export", "--email", "Marta@example.com")).json
        assert [(one["id"], one["when"]) for one in exported["mutes"]] == [(1, marta)]
        done = await said(tmp_path, "erase", "--email", "Marta@example.com", "--yes")
        assert (done.status, done.err) == (0, "")
        assert "mute 1\n" in done.out
        assert "ended 1 mute, and erased what it was about" in done.out
        assert relay.rows("SELECT id, ended_at IS NULL FROM mutes ORDER BY id") == [
            (1, False),
            (2, True),
        ]
        every = (await said(tmp_path, "mutes", "--all", "--json")).json
        assert "marta" not in str(every).lower()
        assert (await said(tmp_path, "erase", "--email", "nobody@example.com", "--yes")).status == 1


async def test_what_a_mute_held_back_that_is_erased_waits_for_the_hours(
    tmp_path: Path, ends: ReceivingServers
) -> None:
    rules = RULES.replace("rate: unlimited", "rate: unlimited, send: 08:00")
    async with started(tmp_path, ends, rules):
        marta = ("--when", "{visitor.email: {ends_with: marta@example.com}}", "--for", "30d")
        await mute(tmp_path, *marta, "--yes", rules=rules)
    async with started(tmp_path, ends, rules) as relay:
        await relay.post(a_hook(1, missed=True, visitor={"email": "old.marta@example.com"}))
        await relay.until("SELECT state, why FROM deliveries", ("scheduled", "muted:1"))
        done = await said(tmp_path, "erase", "--email", "marta@example.com", "--yes", rules=rules)
        assert done.status == 0
        ((due, ended),) = relay.rows("SELECT due_at, ended_at FROM deliveries, mutes")
        local = datetime.fromtimestamp(due / 1000, ZoneInfo("Europe/Prague"))
        assert f"{local:%H:%M:%S}" == "08:00:00"
        assert due > ended


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        ("mon 08:00", "2026-11-28 12:00", "2026-11-30T07:00"),
        ("mon 08:00", "2026-11-30 07:00", "2026-12-07T07:00"),
        ("sat 08:00", "2026-11-28 05:00", "2026-11-28T07:00"),
        ("17:30", "2026-11-28 12:00", "2026-11-28T16:30"),
        ("17:30", "2026-11-28 18:00", "2026-11-29T16:30"),
        ("2027-03-28 02:30", "2026-11-28 12:00", "2027-03-28T01:00"),
        ("2026-10-25 02:30", "2026-10-24 12:00", "2026-10-25T00:30"),
    ],
)
def test_an_end_is_the_next_time_that_may_be_meant(text: str, now: str, expected: str) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    found = next_moment(text, ZoneInfo("Europe/Prague"), at)
    assert found.isoformat().startswith(expected)
    assert found - at < timedelta(days=121)

"""Something is wrong with the relay itself: somebody is told once, over another way, and once when it is over."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_hook
from tests.journeys.receiving_servers import ROOM, ReceivingServers
from tests.running import MovableClock, RunningRelay, running_relay
from tests.servers import HttpAnswer, Late
from tests.templates.reading import shown

pytestmark = [pytest.mark.usefixtures("each_store"), pytest.mark.long]

REVOKED = HttpAnswer(status=404, body="no_service")
REFUSED = HttpAnswer(status=400, body="user_is_bad")
OFTEN = timedelta(milliseconds=20)
ALERTS = (
    "SELECT d.rule, d.destination, d.state FROM deliveries d JOIN chats c ON c.id = d.chat_id"
    " WHERE c.account = '' ORDER BY d.id"
)
RULES = """\
timezone: Europe/Prague
language: en
schedules:
  always: {hours: 00:00-24:00}
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited, language: cs}
alerts_to: [desk, room]
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room, template: missed}
"""


@contextlib.asynccontextmanager
async def a_relay(
    folder: Path, ends: ReceivingServers, clock: MovableClock, rules: str = RULES
) -> AsyncIterator[RunningRelay]:
    async with running_relay(
        folder, clock=clock, rules=rules, between_looks=OFTEN, **ends.settings
    ) as relay:
        yield relay


async def until_ready(relay: RunningRelay, key: str, **expected: Any) -> Any:
    """Asks /readyz until it says so under `key`; the test's time-out is the deadline."""
    while True:
        state = (await relay.ready())[key]
        if state is not None and all(state[name] == value for name, value in expected.items()):
            return state


async def until_watched(relay: RunningRelay) -> None:
    """Nothing that was wrong before the first look is told."""
    await relay.until("SELECT count(*) FROM marks WHERE name = 'watched since'", (1,))


async def until_known(relay: RunningRelay, *kinds: str) -> list[dict[str, Any]]:
    """Which troubles /readyz tells of, once they are these."""
    while True:
        found: list[dict[str, Any]] = (await relay.ready())["alerts"]["open"]
        if [each["what"] for each in found] == list(kinds):
            return found


async def until_gone(relay: RunningRelay) -> None:
    """What a look saw as gone before, during an attempt, may be over and told of at once."""
    await relay.until("SELECT count(*) FROM troubles WHERE gone_at IS NULL", (0,))


def subjects(ends: ReceivingServers) -> list[str]:
    return [str(mail.message["Subject"]) for mail in ends.mail.mails]


def how_often(ends: ReceivingServers, words: str) -> int:
    """Posts to the room that say so: chats that had waited may come before them or after."""
    return sum(words in post for post in ends.posts(ROOM))


async def test_a_broken_destination_is_told_of_once_elsewhere_and_once_when_it_works_again(
    tmp_path: Path,
) -> None:
    clock = MovableClock()
    async with ReceivingServers() as ends:
        ends.at(ROOM, REVOKED)
        async with a_relay(tmp_path, ends, clock) as relay:
            await relay.post(a_hook(1, missed=True))
            await ends.mail.received(1)
            await relay.post(a_hook(2, missed=True))
            (trouble,) = await until_known(relay, "destination broken")
            assert (trouble["subject"], trouble["told"]) == ("room", ["desk"])
            await relay.until(ALERTS, ("alert", "desk", "delivered"))
            ((closed_until,),) = relay.rows("SELECT closed_until FROM gates")
        mail = ends.mail.mails[0]
        assert mail.message["Subject"] == "Nothing gets through to room"
        assert "Last answer: Slack answered 404 no_service" in mail.part("plain")
        assert "What to do: The webhook is no longer valid: make a new one" in mail.part("plain")
        assert "Then run: relay send-test room" in mail.part("plain")
        ends.at(ROOM, REVOKED)
        async with a_relay(tmp_path, ends, clock) as relay:  # a restart looks at once, and in vain
            while relay.rows("SELECT closed_until FROM gates") == [(closed_until,)]:
                await relay.ready()
            await relay.forward(queued=2, hours=1)
            await relay.post(a_hook(3, missed=True))  # wakes the room, which works now
            await relay.until("SELECT count(*) FROM gates", (0,))
            await until_known(relay, "destination broken")
            await until_gone(relay)
            await relay.forward(minutes=2)
            await until_known(relay)
            await relay.until(
                ALERTS,
                ("alert", "desk", "delivered"),
                ("alert resolved", "desk", "delivered"),
                ("alert resolved", "room", "delivered"),
            )
        assert subjects(ends) == ["Nothing gets through to room", "room works again"]
        again = ends.mail.mails[1]
        assert "It was out of order for 1 h" in again.part("plain")
        # The third may be seen before it is sent, or not.
        assert re.search("Had waited: [23] notifications", again.part("plain"))
        assert how_often(ends, "room zase funguje") == 1


async def test_an_alert_looks_like_all_other_mails_and_no_template_of_ones_own_has_a_say_in_it(
    tmp_path: Path,
) -> None:
    parts = tmp_path / "mine" / "_parts"
    parts.mkdir(parents=True)
    for name in ("frame.html", "pieces.html", "words.txt"):
        (parts / name).write_text("{% nonsense", encoding="utf-8")
    async with ReceivingServers() as ends:
        ends.at(ROOM, HttpAnswer(status=404, body="<b>no</b> service"))
        async with running_relay(
            tmp_path,
            rules=RULES,
            between_looks=OFTEN,
            RELAY_TEMPLATES=str(tmp_path / "mine"),
            **ends.settings,
        ) as relay:
            await relay.post(a_hook(1, missed=True))
            (mail,) = await ends.mail.received(1)
    page = shown(mail.part("html"))  # which has no markup but ours
    for said in ("Alert", "Nothing gets through to room", "<b>no</b> service", "names desk"):
        assert said in page.text
        assert said in mail.part("plain") or said == "Alert"


async def test_where_the_only_way_is_the_broken_one_the_relay_says_that_nobody_could_be_told(
    tmp_path: Path,
) -> None:
    rules = RULES.replace("[desk, room]", "room")
    async with ReceivingServers() as ends:
        ends.at(ROOM, REVOKED)
        async with a_relay(tmp_path, ends, MovableClock(), rules) as relay:
            await relay.post(a_hook(1, missed=True))
            (trouble,) = await until_known(relay, "destination broken")
            assert trouble["told"] == []
            assert (await relay.ready())["alerts"]["nobody_could_be_told"] == [trouble]
            assert relay.rows(ALERTS) == []
            await relay.forward(queued=1, minutes=6)
            await relay.post(a_hook(2, missed=True))
            await until_gone(relay)
            await until_untold(relay)
            await relay.forward(minutes=2)
            await relay.until(ALERTS, ("alert resolved", "room", "delivered"))
        assert how_often(ends, "room zase funguje") == 1


async def until_untold(relay: RunningRelay, *kinds: str) -> None:
    while [
        each["what"] for each in (await relay.ready())["alerts"]["nobody_could_be_told"]
    ] != list(kinds):
        pass


NOBODY = "550 5.1.1 nobody of that name"


async def test_an_alert_that_can_not_be_sent_raises_no_other_and_counts_as_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, *[REVOKED] * 99)
        ends.mail.at("rcpt", NOBODY)
        async with a_relay(tmp_path, ends, MovableClock()) as relay:
            await relay.post(a_hook(1, missed=True))
            await relay.until(ALERTS, ("alert", "desk", "failed"))
            await until_untold(relay, "destination broken")
            (trouble,) = (await relay.ready())["alerts"]["open"]
            assert (trouble["what"], trouble["told"]) == ("destination broken", [])
            await relay.forward(queued=1, hours=3)
            await until_untold(relay, "destination broken")
            await relay.until(ALERTS, ("alert", "desk", "failed"))
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "can be alerted" in line]
    assert "nobody can be alerted: Nothing gets through to room" in said
    assert f"the alert to desk is failed: 127.0.0.1 answered the recipient with {NOBODY}" in said


async def test_an_alert_that_was_refused_goes_to_the_address_once_that_is_corrected(
    tmp_path: Path,
) -> None:
    rules = RULES.replace("[desk, room]", "desk")
    async with ReceivingServers() as ends:
        ends.at(ROOM, REVOKED)
        ends.mail.at("rcpt", NOBODY)
        async with a_relay(tmp_path, ends, MovableClock(), rules) as relay:
            await relay.post(a_hook(1, missed=True))
            await until_untold(relay, "destination broken")
            corrected = rules.replace("desk@example.com", "help@example.com")
            (tmp_path / "rules.yaml").write_text(corrected, encoding="utf-8")
            (mail,) = await ends.mail.received(1)
            assert mail.recipients == ("help@example.com",)
            await until_untold(relay)
            assert [one["told"] for one in await until_known(relay, "destination broken")] == [
                ["desk"]
            ]


async def test_the_fallback_of_alerts_to_is_told_where_that_one_refuses_the_alert(
    tmp_path: Path,
) -> None:
    rules = RULES.replace("[desk, room]", "desk").replace(
        "{to: desk@example.com}", "{to: desk@example.com}, fallback: room"
    )
    silent = rules + "silence: {longer_than: 4h}\n"
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", NOBODY)
        async with a_relay(tmp_path, ends, MovableClock(), silent) as relay:
            await until_ready(relay, "silence", too_long=False)
            await relay.forward(hours=5)
            await ends.posted(ROOM, 1)
            await relay.until(ALERTS, ("alert", "desk", "failed"), ("alert", "room", "delivered"))
            while [one["told"] for one in await until_known(relay, "silence")] != [["room"]]:
                pass
            await until_untold(relay)


async def test_the_fallback_of_alerts_to_is_told_that_alerts_to_is_broken(tmp_path: Path) -> None:
    rules = RULES.replace("[desk, room]", "room").replace("language: cs", "fallback: desk")
    async with ReceivingServers() as ends:
        ends.at(ROOM, REVOKED)
        async with a_relay(tmp_path, ends, MovableClock(), rules) as relay:
            await relay.post(a_hook(1, missed=True))
            (mail,) = await ends.mail.received(1)
            assert mail.message["Subject"] == "Nothing gets through to room"
            await until_untold(relay)


async def test_failures_that_nobody_could_be_told_of_are_listed_until_somebody_is(
    tmp_path: Path,
) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, REFUSED)
        ends.mail.at("rcpt", NOBODY)
        async with a_relay(tmp_path, ends, MovableClock()) as relay:
            await until_watched(relay)
            await relay.post(a_hook(1, missed=True))
            await relay.until("SELECT count(*) FROM deliveries WHERE state = 'failed'", (1,))
            await relay.forward(minutes=2)
            await until_untold(relay, "deliveries failed")
            await relay.forward(minutes=2)
            relay.change(
                "UPDATE deliveries SET state = ?, settled_at = NULL WHERE destination = ?",
                *("queued", "desk"),
            )
            await relay.post(a_hook(2))
            await ends.mail.received(1)
            await until_untold(relay)


async def test_a_server_that_is_away_is_told_of_after_a_quarter_of_an_hour(tmp_path: Path) -> None:
    rules = RULES.replace("send_to: room", "send_to: desk")
    async with ReceivingServers() as ends:
        ends.mail.at("data", "451 4.3.0 come back later", times=None)
        async with a_relay(tmp_path, ends, MovableClock(), rules) as relay:
            await relay.post(a_hook(1, missed=True))
            await relay.until("SELECT count(*) FROM attempts WHERE ending = 'later'", (1,))
            await relay.forward(queued=1, minutes=14)
            # As a command does: the lane looks at the clock again.
            relay.change("UPDATE chats SET chat = chat")
            await relay.until("SELECT count(*) FROM attempts WHERE ending = 'later'", (2,))
            assert (await relay.ready())["alerts"]["open"] == []
            await relay.forward(queued=1, minutes=3)
            (post,) = await ends.posted(ROOM, 1)
            assert "Oznámení pro desk se zpožďují" in post
            assert "451 4.3.0 come back later" in post
            await relay.forward(queued=1, minutes=10)
            ends.mail.as_usual()
            await relay.post(a_hook(2, missed=True))
            await ends.mail.received(2)
            await until_gone(relay)
            await relay.forward(minutes=2)
            assert "Oznámení pro desk se zase odesílají" in (await ends.posted(ROOM, 2))[1]


async def a_look(relay: RunningRelay) -> Any:
    """What /readyz says after a look that began just now. Needs `silence:` in the rules."""
    before = (await until_ready(relay, "silence"))["since"]
    await relay.post(a_hook(before))
    while (ready := await relay.ready())["silence"]["since"] == before:
        pass
    return ready


def troubles(ready: Any) -> list[str]:
    return [each["what"] for each in ready["alerts"]["open"]]


@contextlib.contextmanager
def hanging(ends: ReceivingServers) -> Iterator[asyncio.Event]:
    """Meanwhile the mail server takes each connection and says nothing until the event has come."""
    go_on = asyncio.Event()
    ends.mail.at("greeting", Late(go_on), times=None)
    try:
        yield go_on
    finally:
        ends.mail.as_usual()
        go_on.set()


SENDING = "SELECT count(*) FROM deliveries WHERE state = 'sending' AND destination = 'desk'"
TO_DESK = RULES.replace("send_to: room", "send_to: desk") + "silence: {longer_than: 24h}\n"


async def test_what_hangs_in_an_attempt_is_as_late_as_what_waits_for_one(tmp_path: Path) -> None:
    clock = MovableClock()
    async with ReceivingServers() as ends:
        ends.mail.at("greeting", "421 4.3.2 come back later")
        async with a_relay(tmp_path, ends, clock, TO_DESK) as relay:
            await relay.post(a_hook(1, missed=True))
            await relay.until("SELECT count(*) FROM attempts WHERE ending = 'later'", (1,))
            with hanging(ends):
                await relay.forward(queued=1, minutes=20)
                await until_known(relay, "deliveries late")
                relay.change("UPDATE chats SET chat = chat")
                await relay.until(SENDING, (1,))
                for minutes in (20, 22, 24):
                    ready = await a_look(relay)
                    assert troubles(ready) == ["deliveries late"]
                    assert ready["destinations"]["desk"]["queued"] == 0
                    assert ready["destinations"]["desk"]["oldest_queued_seconds"] >= minutes * 60
                    clock.forward(minutes=2)
            await ends.mail.received(1)
            await until_gone(relay)
            await relay.forward(minutes=2)
            await ends.posted(ROOM, 2)
            assert how_often(ends, "Oznámení pro desk se zpožďují") == 1
            assert how_often(ends, "Oznámení pro desk se zase odesílají") == 1


async def test_a_first_attempt_that_hangs_is_told_of_after_a_quarter_of_an_hour(
    tmp_path: Path,
) -> None:
    clock = MovableClock()
    async with ReceivingServers() as ends, a_relay(tmp_path, ends, clock, TO_DESK) as relay:
        with hanging(ends):
            await relay.post(a_hook(1, missed=True))
            await relay.until(SENDING, (1,))
            clock.forward(minutes=13)
            assert troubles(await a_look(relay)) == []
            clock.forward(minutes=3)
            assert troubles(await a_look(relay)) == ["deliveries late"]
            (post,) = await ends.posted(ROOM, 1)
            assert "Oznámení pro desk se zpožďují" in post
            assert "1 oznámení" in post


async def test_an_attempt_that_has_just_begun_is_not_late_however_long_the_relay_was_off(
    tmp_path: Path,
) -> None:
    clock = MovableClock()
    async with ReceivingServers() as ends:
        ends.mail.at("greeting", "421 4.3.2 come back later")
        async with a_relay(tmp_path, ends, clock, TO_DESK) as relay:
            await relay.post(a_hook(1, missed=True))
            await relay.until("SELECT count(*) FROM attempts WHERE ending = 'later'", (1,))
        clock.forward(hours=1)
        with hanging(ends) as go_on:
            async with a_relay(tmp_path, ends, clock, TO_DESK) as relay:
                await relay.until(SENDING, (1,))
                assert troubles(await a_look(relay)) == []
                clock.forward(minutes=2)  # which is long for an attempt
                assert troubles(await a_look(relay)) == ["deliveries late"]
                go_on.set()


@pytest.mark.parametrize("is_paused", [False, True])
async def test_what_is_late_is_not_said_to_be_sent_again_where_something_else_holds_it_back(
    tmp_path: Path, *, is_paused: bool
) -> None:
    """A destination that breaks, or that somebody pauses."""
    async with ReceivingServers() as ends:
        ends.mail.at("greeting", "421 4.3.2 come back later", times=None)
        async with a_relay(tmp_path, ends, MovableClock(), TO_DESK) as relay:
            await relay.post(a_hook(1, missed=True))
            await relay.until("SELECT min(number) FROM attempts WHERE ending = 'later'", (1,))
            await relay.forward(queued=1, minutes=20)
            await ends.posted(ROOM, 1)
            ends.mail.at("greeting", "554 5.7.1 your address is on a list", times=None)
            await relay.forward(queued=1, minutes=5)
            if is_paused:
                relay.change(
                    "INSERT INTO gates (destination, closed_until, reason, paused_by)"
                    " VALUES ('desk', 0, '', 'Anna')"
                )
            relay.change("UPDATE chats SET chat = chat")
            await relay.until("SELECT count(*) FROM gates", (1,))
            for _ in range(3):
                assert "deliveries late" in troubles(await a_look(relay))
                await relay.forward(queued=1, minutes=2)
            assert "deliveries late" in troubles(await a_look(relay))
        assert how_often(ends, "Oznámení pro desk se zase odesílají") == 0


async def test_failures_are_told_of_together_and_not_more_often_than_once_an_hour(
    tmp_path: Path,
) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, *[REFUSED] * 4)
        async with a_relay(tmp_path, ends, MovableClock()) as relay:
            await until_watched(relay)
            for chat in (1, 2, 3):
                await relay.post(a_hook(chat, missed=True))
            await relay.until("SELECT count(*) FROM deliveries WHERE state = 'failed'", (3,))
            await relay.forward(minutes=2)
            await ends.mail.received(1)
            await relay.post(a_hook(4, missed=True))
            await relay.until("SELECT count(*) FROM deliveries WHERE state = 'failed'", (4,))
            await relay.forward(minutes=50)
            await relay.until(ALERTS, ("alert", "desk", "delivered"))
            await relay.forward(minutes=20)
            await ends.mail.received(2)
        assert subjects(ends) == [
            "3 notifications did not reach room",
            "1 notification did not reach room",
        ]
        assert "Last answer: Slack answered 400 user_is_bad" in ends.mail.mails[0].part("plain")


async def test_what_went_to_the_fallback_needs_no_alert_and_says_whose_place_it_takes(
    tmp_path: Path,
) -> None:
    rules = RULES.replace("language: cs", "fallback: desk")
    async with ReceivingServers() as ends:
        ends.at(ROOM, REFUSED)
        async with a_relay(tmp_path, ends, MovableClock(), rules) as relay:
            await relay.post(a_hook(1, missed=True))
            await ends.mail.received(1)
            await relay.forward(hours=2)
            await until_ready(relay, "alerts", open=[])
            assert relay.rows(ALERTS) == []
        assert subjects(ends) == ["Missed chat: Marta Nowak (instead of room)"]
        assert ends.mail.mails[0].part("plain").startswith("This could not be delivered to room.")


async def test_a_rules_file_that_stays_broken_is_told_of_and_its_mending_too(
    tmp_path: Path,
) -> None:
    rules = RULES.replace("[desk, room]", "desk")
    async with ReceivingServers() as ends, a_relay(tmp_path, ends, MovableClock(), rules) as relay:
        path = tmp_path / "rules.yaml"
        path.write_text(rules.replace("missed: true", "mised: true"), encoding="utf-8")
        await until_known(relay, "rules file")
        assert relay.rows(ALERTS) == []
        await relay.forward(minutes=1)
        await ends.mail.received(1)
        path.write_text(rules, encoding="utf-8")
        await ends.mail.received(2)
        assert subjects(ends) == [
            "The rules file can't be used",
            "The rules file can be used again",
        ]
        assert "did you mean missed" in ends.mail.mails[0].part("plain")


async def test_a_silence_is_told_of_once_and_ends_with_the_next_chat(tmp_path: Path) -> None:
    clock = MovableClock()
    rules = RULES.replace("[desk, room]", "desk") + "silence: {longer_than: 4h, within: always}\n"
    async with ReceivingServers() as ends:
        async with a_relay(tmp_path, ends, clock, rules) as relay:
            await relay.post(a_hook(1))
            await until_ready(relay, "silence", too_long=False)
            await relay.forward(hours=5)
            await ends.mail.received(1)
            await until_ready(relay, "silence", too_long=True, within=["always"])
        async with a_relay(tmp_path, ends, clock, rules) as relay:
            await relay.forward(hours=5)
            await until_known(relay, "silence")
            await relay.post(a_hook(2))
            await ends.mail.received(2)
            await until_known(relay)
            await relay.until(
                ALERTS, ("alert", "desk", "delivered"), ("alert resolved", "desk", "delivered")
            )
        first, second = ends.mail.mails
        assert str(first.message["Subject"]).startswith("No chat has come in since ")
        assert second.message["Subject"] == "Chats come in again"
        assert second.message["In-Reply-To"] == first.message["In-Reply-To"]


async def test_a_relay_that_never_heard_a_chat_is_silent_since_it_was_first_started(
    tmp_path: Path,
) -> None:
    clock = MovableClock()
    rules = RULES.replace("[desk, room]", "desk") + "silence: {longer_than: 4h}\n"
    async with ReceivingServers() as ends:
        async with a_relay(tmp_path, ends, clock, rules) as relay:
            await until_ready(relay, "silence", too_long=False)
        clock.forward(hours=3)
        async with a_relay(tmp_path, ends, clock, rules) as relay:
            await until_ready(relay, "silence", too_long=False)
            await relay.forward(minutes=61)
            await ends.mail.received(1)


async def test_a_rule_that_reaches_nobody_is_told_of_once_a_day(tmp_path: Path) -> None:
    owner = '  owner: {email: {to: "{{ visitor.variables.owner }}"}, fallback: desk}'
    rules = RULES.replace("alerts_to:", f"{owner}\nrecipient_domains: example.com\nalerts_to:")
    rules = rules.replace("send_to: room, template: missed", "send_to: owner, stop: true")
    chosen = {"variables": {"owner": {"label": "Owner", "value": "petr novak@example.com"}}}
    async with (
        ReceivingServers() as ends,
        a_relay(tmp_path, ends, MovableClock(), rules) as relay,
    ):
        for number in (1, 2):
            answer = await relay.post(a_hook(number, missed=True, visitor=chosen))
            assert answer.json["deliveries"] == 1
        await ends.mail.received(3)
        await ends.posted(ROOM, 1)
        await relay.until(ALERTS, ("alert", "desk", "delivered"), ("alert", "room", "delivered"))
    (alert,) = [mail for mail in ends.mail.mails if "rule" in str(mail.message["Subject"])]
    assert alert.message["Subject"] == "The rule “Missed chats” reaches nobody"
    for words in ("Chat: 208/1", "Destination: owner", "Sent to instead: desk", "--chat 208/1`"):
        assert words in alert.part("plain")
    assert "novak" not in alert.part("plain")
    assert how_often(ends, "Pravidlo „Missed chats“ nikoho nezastihne") == 1
    assert sum("(instead of owner)" in subject for subject in subjects(ends)) == 2


async def test_what_waits_for_a_destination_that_was_renamed_is_told_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = RULES.replace("[desk, room]", "desk")
    renamed = rules.replace("room", "team")
    busy = HttpAnswer(status=429, body="", headers={"Retry-After": "3000"})
    async with ReceivingServers() as ends:
        ends.at(ROOM, busy)
        async with a_relay(tmp_path, ends, MovableClock(), rules) as relay:
            await relay.post(a_hook(1, missed=True))
            await relay.until("SELECT count(*) FROM gates", (1,))
            (tmp_path / "rules.yaml").write_text(renamed, encoding="utf-8")
            (trouble,) = await until_known(relay, "destination removed")
            assert (trouble["subject"], trouble["told"]) == ("room", [])
            await relay.forward(queued=1, minutes=1)
            await ends.mail.received(1)
            assert "room: 1 delivery waits for it" in capsys.readouterr().err
            mail = ends.mail.mails[0]
            assert "room, which is no longer in the rules file" in str(mail.message["Subject"])
            assert "send them elsewhere: `relay move-deliveries room NEW`" in mail.part("plain")
            assert "Waiting: 1 notification" in mail.part("plain")
            (tmp_path / "rules.yaml").write_text(rules, encoding="utf-8")
            await until_gone(relay)
            await relay.forward(queued=1, minutes=2)
            await until_known(relay)
            await ends.mail.received(2)
            assert subjects(ends)[1] == "No notification waits for room any more"
            (tmp_path / "rules.yaml").write_text(renamed, encoding="utf-8")
            await until_known(relay, "destination removed")
            await relay.forward(queued=1, minutes=20)
            await ends.mail.received(3)
            await until_known(relay, "destination removed")  # and not late as well

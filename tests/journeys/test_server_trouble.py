"""When the servers misbehave: what was queued arrives in the end, or ends visibly as failed."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.rendering.made_up_chats import HOSTILE_TEXTS
from tests.builders import a_hook
from tests.journeys.receiving_servers import ROOM, TEAM, ReceivingServers
from tests.running import RULES, MovableClock, RunningRelay, running_relay
from tests.servers import DROP, HANG, HttpAnswer, HttpRequest, HttpStep, SmtpServer, Tarpit

pytestmark = [pytest.mark.usefixtures("each_store"), pytest.mark.long]

STATES = "SELECT destination, state FROM deliveries ORDER BY id"
TRIED = "SELECT count(DISTINCT delivery_id) FROM attempts WHERE ended_at > 0"
"""How many deliveries were tried: a server that is away is tried again after seconds."""
DESK_ONLY = """\
destinations:
  desk: {email: {to: desk@example.com}}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk, template: missed}
"""
ROOM_ONLY = """\
destinations:
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room, template: missed}
"""
TOO_MANY = HttpAnswer(status=429, body="rate_limited", headers={"Retry-After": "3000"})
"""So long that a slow machine does not come to its end by itself."""


def missed(number: int, **more: Any) -> bytes:
    """A missed chat whose visitor has a number for a name."""
    return a_hook(number, missed=True, visitor={"name": f"Visitor{number}"}, **more)


def visitors(texts: list[str]) -> list[int]:
    """Whom they tell of."""
    return sorted(int(text.split("Visitor")[1].split()[0]) for text in texts)


def mailed(ends: ReceivingServers) -> list[int]:
    return visitors([str(mail.message["Subject"]) for mail in ends.mail.mails])


async def until_state(relay: RunningRelay, destination: str, state: str) -> None:
    """As /readyz tells of it; the test's time-out is the deadline."""
    while (await relay.ready())["destinations"][destination]["state"] != state:
        pass


# -- a mail server in trouble -----------------------------------------------------------------------------------


async def test_after_an_outage_all_that_waited_goes_out_at_the_first_success(
    tmp_path: Path,
) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("data", "451 4.3.0 come back later", times=None)
        async with running_relay(
            tmp_path, clock=MovableClock(), rules=DESK_ONLY, **ends.settings
        ) as relay:
            for number in (1, 2, 3):
                assert (await relay.post(missed(number))).status == 202
            await relay.until(TRIED, (3,))
            await until_state(relay, "desk", "does not answer")
            # Less than any of the three would have waited by itself.
            await relay.forward(queued=3, seconds=5)
            ends.mail.as_usual()
            await relay.post(missed(4))
            await ends.mail.received(4)
            await relay.until(STATES, *[("desk", "delivered")] * 4)
            await until_state(relay, "desk", "works")
        assert mailed(ends) == [1, 2, 3, 4]


async def test_what_met_a_blip_goes_out_at_the_next_success_once(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("data", "451 4.3.0 come back later")
        async with running_relay(tmp_path, rules=DESK_ONLY, **ends.settings) as relay:
            await relay.post(missed(1))
            await relay.until("SELECT count(*) FROM attempts WHERE ending = 'later'", (1,))
            await relay.post(missed(2))
            await ends.mail.received(2)
            await relay.until(STATES, *[("desk", "delivered")] * 2)
        assert mailed(ends) == [1, 2]


async def test_a_mail_that_is_refused_for_good_fails_at_once_and_is_seen(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
        async with running_relay(tmp_path, rules=DESK_ONLY, **ends.settings) as relay:
            await relay.post(missed(1))
            await relay.until(STATES, ("desk", "failed"))
            assert (await relay.ready())["deliveries"] == {
                "queued": 0,
                "scheduled": 0,
                "sending": 0,
                "failed": 1,
            }
            assert relay.rows("SELECT attempts, detail FROM deliveries") == [
                (1, "127.0.0.1 answered the recipient with 550 5.1.1 nobody of that name")
            ]


async def test_of_two_recipients_the_one_that_is_refused_fails_alone(tmp_path: Path) -> None:
    rules = DESK_ONLY.replace("desk@example.com", "[anna@example.com, bert@example.com]")
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", "550 5.1.1 nobody of that name")
        async with running_relay(tmp_path, rules=rules, **ends.settings) as relay:
            await relay.post(missed(1))
            await relay.until(
                "SELECT state FROM deliveries ORDER BY state", ("delivered",), ("failed",)
            )
        assert len(ends.mail.mails) == 1


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.7.1 Relaying denied",
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
        "554 5.7.1 <relay>: Helo command rejected: Access denied",
    ],
)
async def test_mails_of_an_hour_in_which_a_server_refuses_us_go_out_when_it_takes_them(
    tmp_path: Path, reply: str
) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", reply, times=None)
        async with running_relay(
            tmp_path, clock=MovableClock(), rules=DESK_ONLY, **ends.settings
        ) as relay:
            for number in (1, 2, 3):
                await relay.post(missed(number))
            await relay.until("SELECT count(*) FROM gates WHERE broken_since > 0", (1,))
            assert "desk" in (await relay.ready())["broken_destinations"]
            assert reply in str(relay.rows("SELECT reason FROM gates"))
            await relay.forward(queued=3, hours=1)
            ends.mail.as_usual()
            await relay.post(missed(4))
            await ends.mail.received(4)
            await relay.until(STATES, *[("desk", "delivered")] * 4)
        assert sorted(mailed(ends)) == [1, 2, 3, 4]


async def test_an_address_that_keeps_the_server_busy_does_not_hold_up_another(
    tmp_path: Path,
) -> None:
    rules = """\
destinations:
  slow: {email: {to: slow@example.com}}
  quick: {email: {to: quick@example.com}}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: [slow, quick], template: missed}
"""
    async with ReceivingServers(server := Tarpit()) as ends:
        server.slow = {"slow@example.com"}
        async with running_relay(tmp_path, rules=rules, **ends.settings) as relay:
            for number in range(20):
                assert (await relay.post(missed(number))).status == 202
            mails = await server.received(20)
            assert {mail.recipients for mail in mails} == {("quick@example.com",)}
            server.go_on.set()
            await server.received(40)


async def test_a_wrong_password_makes_mail_wait_until_it_is_mended(tmp_path: Path) -> None:
    def login(password: str) -> str:
        return f"smtp://me:{password}@127.0.0.1:{ends.mail.port}?insecure=yes"

    async with ReceivingServers(SmtpServer(users={"me": "right-password"})) as ends:
        more = {"rules": DESK_ONLY, **ends.settings}
        wrong = {**more, "RELAY_SMTP_URL": login("wrong-password")}
        async with running_relay(tmp_path, **wrong) as relay:
            await relay.post(missed(1))
            await relay.until("SELECT count(*) FROM gates WHERE broken_since > 0", (1,))
            await relay.post(missed(2))
            assert "desk" in (await relay.ready())["broken_destinations"]
            ((reason,),) = relay.rows("SELECT reason FROM gates")
            assert reason.startswith("127.0.0.1 answered the login with 535")
            assert (await relay.ask("GET", "/readyz")).status == 200
        assert ends.mail.verbs().count("AUTH") == 1  # each wrong one brings a lock nearer

        async with running_relay(tmp_path, **wrong) as relay:
            await relay.until("SELECT count(*) FROM attempts WHERE ended_at > 0", (2,))
            assert "desk" in (await relay.ready())["broken_destinations"]
        assert ends.mail.verbs().count("AUTH") == 2

        right = {**more, "RELAY_SMTP_URL": login("right-password")}
        async with running_relay(tmp_path, **right) as relay:
            await ends.mail.received(2)
            await relay.until("SELECT count(*) FROM gates", (0,))
            assert (await relay.ready())["broken_destinations"] == {}
        assert mailed(ends) == [1, 2]


async def test_a_mail_whose_answer_was_lost_is_sent_again_as_the_same_mail(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.mail.at("body", DROP)
        async with running_relay(
            tmp_path, clock=MovableClock(), rules=DESK_ONLY, **ends.settings
        ) as relay:
            await relay.post(missed(1))
            await relay.until(STATES, ("desk", "queued"))
            await relay.until("SELECT ending FROM attempts", ("maybe delivered",))
            await relay.forward(queued=1, seconds=31)
            await relay.post(missed(2))
            await ends.mail.received(2)
        same = [body for body in ends.mail.bodies if b"Subject: Missed chat: Visitor1" in body]
        assert len(same) == 2
        assert same[0] == same[1]


# -- Slack in trouble -------------------------------------------------------------------------------------------


async def test_a_rate_limit_keeps_a_room_closed_over_a_restart(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, TOO_MANY)
        async with running_relay(tmp_path, **ends.settings) as relay:
            await relay.post(missed(1))
            await relay.until("SELECT count(*) FROM gates", (1,))
        async with running_relay(
            tmp_path, clock=MovableClock(seconds=2000), **ends.settings
        ) as relay:
            await relay.post(missed(2))
            await ends.mail.received(2)  # the desk goes on
            assert (await relay.ready())["deliveries"]["queued"] == 2
        assert len(ends.requests(ROOM)) == 1
        async with running_relay(
            tmp_path, clock=MovableClock(seconds=3001), **ends.settings
        ) as relay:
            posts = await ends.posted(ROOM, 3)
            await relay.until(
                "SELECT state, failures FROM deliveries WHERE destination = 'room'",
                *[("delivered", 0)] * 2,
            )
        assert visitors(posts[1:]) == [1, 2]


async def test_a_room_that_a_wrong_clock_closed_for_a_year_opens_within_the_hour(
    tmp_path: Path,
) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, TOO_MANY)
        ahead = MovableClock(days=400)
        async with running_relay(tmp_path, clock=ahead, rules=ROOM_ONLY, **ends.settings) as relay:
            await relay.post(missed(1))
            await relay.until("SELECT count(*) FROM gates", (1,))
        async with running_relay(
            tmp_path, clock=MovableClock(), rules=ROOM_ONLY, **ends.settings
        ) as relay:
            assert (await relay.ready())["destinations"]["room"]["state"] == "rate limited"
            await relay.forward(queued=1, hours=1)
            await relay.post(missed(2))
            posts = await ends.posted(ROOM, 3)
        assert visitors(posts[1:]) == [1, 2]


async def test_a_post_that_slack_may_have_taken_is_repeated_once_at_most(tmp_path: Path) -> None:
    def of_the_first(request: HttpRequest) -> HttpStep:
        fails = b"Visitor1 " in request.body
        return HttpAnswer(status=500, body="internal_error") if fails else HttpAnswer()

    async with ReceivingServers() as ends:
        ends.web.usual = of_the_first
        async with running_relay(
            tmp_path, clock=MovableClock(), rules=ROOM_ONLY, **ends.settings
        ) as relay:
            await relay.post(missed(1))
            await relay.until("SELECT state, unsure FROM deliveries", ("queued", 1))
            for number in (2, 3):
                await relay.forward(queued=3 - number, minutes=2)
                await relay.post(missed(number))
                await relay.until(
                    STATES, ("room", "maybe delivered"), *[("room", "delivered")] * (number - 1)
                )
            assert (await relay.ready())["deliveries"]["maybe delivered"] == 1
        assert visitors(ends.posts(ROOM)) == [1, 1, 2, 3]


async def test_what_is_too_long_for_slack_arrives_in_the_short_form(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, HttpAnswer(status=400, body="msg_too_long"))
        async with running_relay(tmp_path, rules=ROOM_ONLY, **ends.settings) as relay:
            await relay.post(missed(1))
            whole, short = await ends.posted(ROOM, 2)
            await relay.until(STATES, ("room", "delivered"))
        assert "Yes, how can I help?" in whole
        assert "Yes, how can I help?" not in short
        assert visitors([whole, short]) == [1, 1]


async def test_a_revoked_webhook_makes_its_room_wait_and_no_other(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, HttpAnswer(status=404, body="no_service"))
        async with running_relay(tmp_path, **ends.settings) as relay:
            await relay.post(missed(1))
            await relay.until("SELECT count(*) FROM gates WHERE broken_since > 0", (1,))
            await relay.post(missed(2))
            await ends.mail.received(2)
            assert "room" in (await relay.ready())["broken_destinations"]
            assert relay.rows("SELECT reason FROM gates") == [("Slack answered 404 no_service",)]
        assert len(ends.requests(ROOM)) == 1
        async with running_relay(tmp_path, **ends.settings):
            assert visitors((await ends.posted(ROOM, 3))[1:]) == [1, 2]


async def many_meet(relay: RunningRelay, ends: ReceivingServers, answer: HttpAnswer) -> None:
    """Eight posts are under way at the same time, and each is answered so."""
    answered = asyncio.Event()
    ends.at(ROOM, *[replace(answer, after=answered)] * 8)
    for number in range(1, 9):
        await relay.post(missed(number))
    await ends.posted(ROOM, 8)
    answered.set()
    await relay.until(TRIED, (8,))


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (HttpAnswer(status=404, body="no_service"), {"minutes": 5}),  # it is broken
        (HttpAnswer(status=408), {"seconds": 2}),  # it is away
    ],
)
async def test_many_that_meet_a_fault_together_wait_no_longer_than_one(
    tmp_path: Path, answer: HttpAnswer, wait: dict[str, float]
) -> None:
    async with ReceivingServers() as ends:
        clock = MovableClock()
        async with running_relay(tmp_path, clock=clock, rules=ROOM_ONLY, **ends.settings) as relay:
            await many_meet(relay, ends, answer)
            clock.forward(**wait)  # on a slow computer one may have been tried again already
            await relay.post(missed(9))
            await relay.until(STATES, *[("room", "delivered")] * 9)
        assert visitors(ends.posts(ROOM)[8:]) == list(range(1, 10))


async def test_a_room_that_never_answers_delays_nobody_else(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.web.usual = HANG
        async with running_relay(tmp_path, **ends.settings) as relay:
            for number in range(1, 21):
                assert (await relay.post(missed(number))).status == 202
            await ends.mail.received(20)
            await ends.posted(ROOM, 1)
            await ends.hang_up()
        assert mailed(ends) == list(range(1, 21))


# -- Teams ------------------------------------------------------------------------------------------------------


async def test_what_teams_took_but_did_not_post_yet_counts_as_accepted(tmp_path: Path) -> None:
    rules = ROOM_ONLY.replace("slack: {webhook: $ROOM_WEBHOOK}", "teams: {webhook: $TEAMS}")
    async with ReceivingServers() as ends:
        more = {**ends.settings, "TEAMS": ends.web.url(TEAM)}
        async with running_relay(tmp_path, rules=rules, **more) as relay:
            await relay.post(missed(1))
            await ends.posted(TEAM, 1)
            await relay.until(STATES, ("room", "accepted"))


# -- rules and templates ------------------------------------------------------------------------------------------


async def test_a_template_that_breaks_gives_way_to_a_wording_that_says_so(tmp_path: Path) -> None:
    own = tmp_path / "templates" / "missed"
    own.mkdir(parents=True)
    # Not for every chat: nobody would have seen it at the start.
    (own / "subject.txt").write_text(
        "{% if visitor.name == 'Visitor1' %}{{ visitor.shoe_size }}{% endif %}Missed {{ visitor.name }}"
    )
    async with ReceivingServers() as ends:
        more = {**ends.settings, "RELAY_TEMPLATES": str(own.parent)}
        async with running_relay(tmp_path, **more) as relay:
            await relay.post(missed(1))
            await ends.mail.received(1)
            (post,) = await ends.posted(ROOM, 1)
            await relay.post(missed(2))
            broken, fine = await ends.mail.received(2)
            await ends.posted(ROOM, 2)
        assert "template broken" in broken.message["Subject"]
        assert "shoe_size" in broken.part("plain")
        assert "Hello, is anybody there?" in broken.part("plain")
        assert "shoe_size" in post
        assert fine.message["Subject"] == "Missed Visitor2"


async def test_what_failed_goes_to_the_destinations_fallback(tmp_path: Path) -> None:
    rules = """\
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited, fallback: desk}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room, template: missed}
"""
    async with ReceivingServers() as ends:
        ends.at(ROOM, HttpAnswer(status=400, body="user_is_bad"))
        async with running_relay(tmp_path, rules=rules, **ends.settings) as relay:
            assert (await relay.post(missed(1))).json["deliveries"] == 1
            await ends.mail.received(1)
            await relay.until(STATES, ("room", "failed"), ("desk", "delivered"))
        assert mailed(ends) == [1]


async def test_what_fails_for_each_of_two_recipients_goes_to_the_fallback_once(
    tmp_path: Path,
) -> None:
    rules = """\
destinations:
  desk: {email: {to: [anna@example.com, bert@example.com]}, fallback: room}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk, template: missed}
"""
    async with ReceivingServers() as ends:
        ends.mail.at("rcpt", "550 5.1.1 nobody of that name", times=2)
        async with running_relay(tmp_path, rules=rules, **ends.settings) as relay:
            await relay.post(missed(1))
            await relay.until(
                "SELECT destination, state FROM deliveries ORDER BY destination, id",
                *[("desk", "failed")] * 2,
                ("room", "delivered"),
            )
        (post,) = ends.posts(ROOM)
        assert "instead of desk" in post
        assert ends.mail.mails == []


SOON_TO_THE_DESK = """\
destinations:
  desk: {email: {to: desk@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited, fallback: desk, fallback_after: 15m}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room, template: missed}
"""


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(status=404, body="no_service"),  # it is broken
        HttpAnswer(status=408),  # it is away
        TOO_MANY,
    ],
    ids=["broken", "silent", "rate limited"],
)
async def test_what_waits_too_long_for_a_room_in_trouble_goes_to_its_fallback_once(
    tmp_path: Path, answer: HttpAnswer
) -> None:
    def but_for_the_last(request: HttpRequest) -> HttpStep:
        return HttpAnswer() if b"Visitor4 " in request.body else answer

    async with ReceivingServers() as ends:
        ends.web.usual = but_for_the_last
        more = {"rules": SOON_TO_THE_DESK, "clock": MovableClock(), **ends.settings}
        async with running_relay(tmp_path, **more) as relay:
            await relay.post(missed(1))
            await relay.until(TRIED, (1,))
            await relay.forward(queued=1, minutes=14)
            await relay.post(missed(2))
            await relay.until(
                "SELECT state, count(*) FROM deliveries GROUP BY state", ("queued", 2)
            )
            assert ends.mail.mails == []
            await relay.forward(queued=2, minutes=2)
            await relay.post(missed(3))
            (mail,) = await ends.mail.received(1)
            assert mail.message["Subject"] == "Missed chat: Visitor1 (instead of room)"
            await relay.forward(queued=2, hours=1)
            await relay.post(missed(4))
            await relay.until(
                "SELECT state, count(*) FROM deliveries WHERE destination = 'room'"
                " GROUP BY state ORDER BY state",
                ("delivered", 1),
                ("moved", 3),
            )
            await ends.mail.received(3)
            assert mailed(ends) == [1, 2, 3]
        moved = relay.rows("SELECT DISTINCT detail FROM deliveries WHERE state = 'moved'")
        assert moved == [("desk gets it instead: room has not taken it in time",)]


async def test_a_backlog_of_a_room_that_works_stays_there_however_long_it_waits(
    tmp_path: Path,
) -> None:
    rules = SOON_TO_THE_DESK.replace("unlimited", "1/h")
    async with ReceivingServers() as ends:
        async with running_relay(
            tmp_path, rules=rules, clock=MovableClock(), **ends.settings
        ) as relay:
            for number in (1, 2, 3):
                await relay.post(missed(number))
                await ends.posted(ROOM, number)
                await relay.forward(hours=1)
        assert ends.mail.mails == []


async def test_nothing_goes_to_a_fallback_that_is_in_trouble_itself(tmp_path: Path) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, *[HttpAnswer(status=404, body="no_service")] * 99)
        ends.mail.at("mail", "550 5.7.1 not you", times=None)
        rules = SOON_TO_THE_DESK.replace("send_to: room", "send_to: [room, desk]")
        more = {"rules": rules, "clock": MovableClock(), **ends.settings}
        async with running_relay(tmp_path, **more) as relay:
            await relay.post(missed(1))
            while set((await relay.ready())["broken_destinations"]) != {"desk", "room"}:
                pass
            await relay.forward(queued=2, minutes=20)
            await relay.post(missed(2))
            await relay.until(
                "SELECT state, count(*) FROM deliveries GROUP BY state", ("queued", 4)
            )


async def test_a_destination_that_left_the_rules_keeps_its_queue_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ReceivingServers() as ends:
        ends.at(ROOM, TOO_MANY)
        async with running_relay(tmp_path, **ends.settings) as relay:
            await relay.post(missed(1))
            await relay.until("SELECT count(*) FROM gates", (1,))
            await ends.mail.received(1)
        async with running_relay(tmp_path, rules=DESK_ONLY, **ends.settings) as relay:
            ready = await relay.ready()
            assert ready["destinations_not_in_the_rules"] == {
                "room": "1 delivery waits for it, and the rules file does not have it: put it back, "
                "or send what waits elsewhere with `relay move-deliveries room NEW`"
            }
            assert "room: 1 delivery waits for it" in capsys.readouterr().err
            assert ready["deliveries"]["queued"] == 1
        async with running_relay(tmp_path, clock=MovableClock(hours=1), **ends.settings) as relay:
            await ends.posted(ROOM, 2)
            assert (await relay.ready())["destinations_not_in_the_rules"] == {}
            await relay.until(STATES, ("desk", "delivered"), ("room", "delivered"))


# -- chats of a strange kind ----------------------------------------------------------------------------------------


async def told(folder: Path, body: bytes, rules: str = RULES) -> ReceivingServers:
    """The servers after one chat, told by mail and in the room."""
    async with (
        ReceivingServers() as ends,
        running_relay(folder, rules=rules, **ends.settings) as relay,
    ):
        answer = await relay.post(body)
        assert (answer.status, answer.json["deliveries"]) == (202, 2)
        await ends.mail.received(1)
        await ends.posted(ROOM, 1)
        await relay.until(STATES, ("desk", "delivered"), ("room", "delivered"))
    return ends


async def test_a_chat_of_ten_thousand_messages_arrives_with_the_middle_left_out_and_counted(
    tmp_path: Path,
) -> None:
    messages = [
        {"type": "visitor", "content": f"word-{number}.", "sentAt": 1763800000000 + number}
        for number in range(10_000)
    ]
    ends = await told(tmp_path, missed(1, messages=messages))
    (mail,), (post,) = ends.mail.mails, ends.posts(ROOM)
    for shown in (mail.part("html"), post):
        assert "word-0." in shown
        assert "word-9999." in shown
        left_out = 10_000 - sum(f"word-{number}." in shown for number in range(10_000))
        assert f"{left_out} messages left out" in shown
    assert len(mail.part("html").encode()) < 102_000  # beyond it Gmail hides the rest
    text = mail.part("plain")
    left_out = 10_000 - sum(f"word-{number}." in text for number in range(10_000))
    assert left_out == 0 or f"{left_out} messages left out" in text


async def test_a_message_of_900_kilobytes_arrives_cut_and_says_how_much_is_missing(
    tmp_path: Path,
) -> None:
    content = "x" * 900_000
    ends = await told(tmp_path, missed(1, messages=[{"type": "visitor", "content": content}]))
    (mail,), (post,) = ends.mail.mails, ends.posts(ROOM)
    assert "x" * 100_000 in "".join(mail.part("plain").split())
    assert "… [800,000 more characters]" in mail.part("plain")
    assert "[cut" in mail.part("html")
    assert "xxx…" in post
    assert len(mail.data) < 500_000


async def test_hostile_words_arrive_as_words_under_our_own_headers(tmp_path: Path) -> None:
    everything = " ".join(HOSTILE_TEXTS)
    visitor = {"name": everything, "email": everything, "note": everything}
    messages = [
        {"type": "visitor", "name": hostile, "content": hostile} for hostile in HOSTILE_TEXTS
    ]
    ends = await told(tmp_path, a_hook(1, missed=True, visitor=visitor, messages=messages))
    (mail,), (request,) = ends.mail.mails, ends.requests(ROOM)
    assert mail.recipients == ("desk@example.com",)
    assert [name for name, _ in mail.message.items()] == [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "In-Reply-To",
        "References",
        "Thread-Index",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "MIME-Version",
        "Content-Type",
    ]
    assert mail.message["From"] == "Relay <relay@example.org>"
    assert "Bcc: everybody@example.com" in mail.part("plain")
    assert "<script>alert" not in mail.part("html")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in mail.part("html")
    assert "49" not in mail.message["Subject"]
    # Where Slack would read its own marks, there are none of the visitor's.
    assert "<!channel>" not in json.dumps([request.json()["text"]])


async def test_a_chat_of_an_unknown_shape_arrives_where_all_chats_go(tmp_path: Path) -> None:
    rules = RULES.replace("when: {missed: true}", "when: always").replace("missed\n", "chat\n")
    ends = await told(tmp_path, b'{"channel": [], "somethingNew": {"missed": true}}', rules)
    (mail,), (post,) = ends.mail.mails, ends.posts(ROOM)
    for shown in (mail.part("plain"), mail.part("html")):
        assert "sha256-" in shown  # its name: the bytes themselves
    assert post


async def test_a_hook_is_answered_though_every_far_end_is_away(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:  # nobody listens at its servers
        answers = [await relay.post(missed(number)) for number in range(1, 31)]
        assert {answer.status for answer in answers} == {202}
        ready = await relay.ready()
        assert ready["ready"] is True
        assert ready["deliveries"]["queued"] + ready["deliveries"]["sending"] == 60

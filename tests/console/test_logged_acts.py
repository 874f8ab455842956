"""What people do in the console: done once, at once, and written down."""

import asyncio
import html
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.builders import a_hook
from tests.console.visiting import PASSWORD, Visitor, signed_in
from tests.running import DEADLINE, TOKEN, ClockAt, RunningRelay, running_relay
from tests.servers import HttpServer, SmtpServer

in_one_loop = pytest.mark.asyncio(loop_scope="module")
ACTS = "SELECT by, act, subject, detail FROM acts WHERE act NOT LIKE 'sign%' ORDER BY id"


@pytest.mark.usefixtures("each_store")
async def test_a_delivery_is_sent_again_once_however_often_the_form_is_sent(tmp_path: Path) -> None:
    async with (
        SmtpServer().at("rcpt", "550 5.1.1 user unknown") as mail,
        running_relay(tmp_path, smtp=mail.port, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay,
    ):
        await relay.post(a_hook(1, missed=True))
        await relay.until("SELECT state FROM deliveries WHERE destination = 'desk'", ("failed",))
        ((number,),) = relay.rows("SELECT id FROM deliveries WHERE destination = 'desk'")
        visitor, path = await signed_in(relay), f"/deliveries/{number}"
        assert "Send again" in (await visitor.get(path)).text
        for _ in range(3):
            got = await visitor.submit(f"{path}/resend", key="one-and-the-same")
            assert (got.status, got.place) == (303, path)
        await relay.until(f"SELECT state FROM deliveries WHERE id = {number}", ("delivered",))  # noqa: S608 - a number
        assert len(mail.mails) == 1
        assert relay.rows(ACTS) == [("admin", "send again", str(number), "desk")]
        await visitor.submit(f"{path}/resend", key="another")
        await relay.until(f"SELECT generation FROM deliveries WHERE id = {number}", (3,))  # noqa: S608 - a number


@in_one_loop
async def test_a_destination_is_paused_and_resumed(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    relay.change("DELETE FROM acts")
    form = {"destination": "desk", "until": "open", "because": "we <move>"}
    assert (await visitor.submit("/destinations/pause", key="p", **form)).status == 303
    assert relay.rows("SELECT paused_by, because FROM gates") == [("admin", "we <move>")]
    assert "admin: we &lt;move&gt;" in (await visitor.get("/destinations")).text
    assert (await visitor.submit("/destinations/resume", key="r", destination="desk")).status == 303
    assert "admin: we &lt;move&gt;" not in (await visitor.get("/destinations")).text
    assert relay.rows("SELECT paused_by FROM gates WHERE paused_by <> ''") == []
    assert relay.rows(ACTS) == [("admin", "pause", "desk", ""), ("admin", "resume", "desk", "")]


@in_one_loop
async def test_a_mute_is_made_and_ended(relay: RunningRelay) -> None:
    visitor = await signed_in(relay, "editor")
    relay.change("DELETE FROM acts")
    form = {"rule": "Missed chats", "destination": "", "until": "4h", "because": "stocktaking"}
    for _ in range(2):
        assert (await visitor.submit("/mutes", key="m", then="digest", **form)).status == 303
    assert (await relay.post(a_hook(77, missed=True))).status == 202
    held = "SELECT DISTINCT state FROM deliveries WHERE chat_id = (SELECT max(id) FROM chats)"
    assert relay.rows(held) == [("scheduled",)]
    page = (await visitor.get("/mutes")).text
    assert "1 mute holds notifications back" in page
    assert "stocktaking" in page
    ((number, by, origin),) = relay.rows("SELECT id, by, origin FROM mutes")
    assert (by, origin) == ("admin", "console")
    assert (await visitor.submit(f"/mutes/{number}/end", key="e")).status == 303
    assert "Nothing is muted." in (await visitor.get("/mutes")).text
    relay.change("DELETE FROM chats WHERE chat = ?", "77")
    expected = [("admin", "mute", "Missed chats", ""), ("admin", "unmute", str(number), "")]
    assert relay.rows(ACTS) == expected


TIMED = """\
timezone: UTC
recipient_domains: [example.net]
schedules:
  office: {days: mon-fri, hours: 08:00-17:00}
destinations:
  desk: {email: {to: [desk@example.com, "Anna <anna@example.com>"]}, send: every 4h}
  owners: {email: {to: "{{ visitor.variables.owner }}"}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, hours: office, outside_hours: digest}
rules:
  - {name: Missed, when: {missed: true}, send_to: [desk, owners, room]}
"""


@pytest.mark.usefixtures("each_store")
async def test_a_test_is_sent_once_and_its_page_has_the_words_of_the_command(
    tmp_path: Path,
) -> None:
    async with (
        SmtpServer() as mail,
        running_relay(
            tmp_path, rules=TIMED, smtp=mail.port, RELAY_CONSOLE_PASSWORD=PASSWORD
        ) as relay,
    ):
        visitor = await signed_in(relay)
        form = {"destination": "desk", "to": "anna@example.com"}
        page = (await visitor.submit("/destinations/test", key="t1", **form)).text
        assert "anna@example.com" in page
        assert "<bdi>250 2.0.0 queued as T1</bdi>" in page
        page = (await visitor.submit("/destinations/test", key="t1", **form)).text
        assert "This test was sent already." in page
        assert [one.recipients for one in mail.mails] == [("anna@example.com",)]
        mail.at("rcpt", "550 5.1.1 <script> unknown")
        page = (await visitor.submit("/destinations/test", key="t2", destination="desk")).text
        assert "refused" in page
        assert "&lt;script&gt; unknown" in page
        assert (
            "It was not delivered, and would be refused again. Fix what the answer names." in page
        )
        for to, words in {
            "": "name a recipient",
            "x@elsewhere.example": "is not a recipient of owners",
            "nobody": "email address",
        }.items():
            got = await visitor.submit("/destinations/test", destination="owners", to=to)
            assert (got.status, words in got.text) == (422, True), got.text
        to = "any@example.net"
        for key in ("t3", "t4", "t5"):
            got = await visitor.submit("/destinations/test", key=key, destination="owners", to=to)
            assert "<bdi>250 2.0.0 queued" in got.text
        tested = ["desk", "desk", *["owners"] * 3]
        async with asyncio.timeout(DEADLINE):  # on a slow computer one more was allowed meanwhile
            while (
                got := await visitor.submit("/destinations/test", key=f"t{len(tested) + 3}", **form)
            ).status == 200:
                tested.append("desk")
        assert (got.status, "Too many tests" in got.text) == (429, True)
        assert len(mail.mails) == len(tested) - 1  # one was refused
        expected = [("admin", "test", name, "") for name in tested]
        assert relay.rows(ACTS) == expected
        assert relay.rows("SELECT count(*) FROM deliveries") == [(0,)]


@pytest.mark.usefixtures("each_store")
async def test_a_digest_is_sent_now_whatever_the_hours_say(tmp_path: Path) -> None:
    clock = ClockAt(datetime(2100, 1, 3, 10, tzinfo=UTC))  # a Sunday
    async with (
        SmtpServer() as mail,
        HttpServer() as room,
        running_relay(
            tmp_path,
            rules=TIMED,
            smtp=mail.port,
            http=room.port,
            clock=clock,
            RELAY_CONSOLE_PASSWORD=PASSWORD,
        ) as relay,
    ):
        for chat in (1, 2, 3):
            assert (await relay.post(a_hook(chat, missed=True))).status == 202
        visitor = await signed_in(relay, "editor")
        page = (await visitor.get("/deliveries")).text
        assert "for the destination&#39;s digest" in page or "for the destination's digest" in page
        assert "outside the destination" in page
        page = (await visitor.get("/destinations")).text
        assert page.count("3 chats wait for a digest") == 3
        forms = re.findall(
            r'name="destination" value="(\w+)"><input type="hidden" name="to" value="([^"]+)">'
            r'<input type="hidden" name="due" value="(\d+)">',
            page,
        )
        assert [name for name, _, _ in forms] == ["desk", "desk", "room"]
        for number, (name, to, due) in enumerate(forms):
            for _ in range(2):
                got = await visitor.submit(
                    "/destinations/digest", key=f"d{number}", destination=name, to=to, due=due
                )
                assert (got.status, got.place) == (303, "/destinations")
        await mail.until(lambda: len(mail.mails) == 2)
        await room.until(lambda: len(room.requests) == 1)
        await relay.until(
            "SELECT state, count(*) FROM deliveries GROUP BY state ORDER BY state",
            ("delivered", 3),
            ("in digest", 9),
        )
        assert relay.rows(ACTS) == [
            ("admin", "send digest", name, "") for name in ("desk", "desk", "room")
        ]
        got = await visitor.submit("/destinations/digest", destination="desk", to="x", due="soon")
        assert got.status == 400


@pytest.mark.usefixtures("each_store")
async def test_a_mute_says_first_what_it_would_have_held_back(tmp_path: Path) -> None:
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        for chat in (71, 72):
            assert (await relay.post(a_hook(chat, missed=True))).status == 202
        assert (await relay.post(a_hook(73, rating=5))).status == 202
        visitor = await signed_in(relay, "editor")
        form = {"destination": "", "until": "1h"}
        begun = await visitor.submit("/mutes/try", rule="Missed chats", **form)
        while "every 1s" in (page := (await visitor.get(begun.place)).text):
            await visitor.get("/healthz")
        assert "it would have held back 4 notifications about 2 chats." in page
        assert relay.rows("SELECT count(*) FROM mutes") == [(0,)]
        assert relay.rows(ACTS) == []
        await visitor.submit(
            "/mutes", key="m", rule="Missed chats", then="digest", because="we move", **form
        )
        await until_it_says(visitor, "/chats", "is muted by")
        assert (await relay.post(a_hook(74, missed=True))).status == 202
        assert (await visitor.get("/chats")).text.count("held back by a mute") == 2
        refused = await visitor.submit("/mutes/try", rule="No such", **form)
        assert refused.status == 422
        assert "send nothing that this mute would hold back" in refused.text


@in_one_loop
@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/destinations/pause", {"destination": "desk", "until": "never", "because": "x"}),
        ("/destinations/digest", {"destination": "desk", "to": "x", "due": "tomorrow"}),
        ("/mutes", {"rule": "Missed chats", "until": "open", "because": "x"}),
    ],
)
async def test_a_form_that_nobody_was_given_changes_nothing(
    relay: RunningRelay, path: str, form: dict[str, str]
) -> None:
    visitor = await signed_in(relay)
    relay.change("DELETE FROM acts")
    assert (await visitor.submit(path, **form)).status == 400
    assert relay.rows(ACTS) == []


NOWHERE = "The rules in force have no destination “nowhere”."


@in_one_loop
@pytest.mark.parametrize(
    ("path", "form", "words"),
    [
        ("/destinations/pause", {"destination": "nowhere", "because": "x"}, NOWHERE),
        ("/destinations/pause", {"destination": "desk", "because": " "}, "Say why"),
        ("/destinations/resume", {"destination": "nowhere"}, NOWHERE),
        ("/destinations/test", {"destination": "nowhere"}, NOWHERE),
        ("/destinations/digest", {"destination": "nowhere", "to": "x", "due": "1"}, NOWHERE),
        ("/mutes", {"because": "Holiday"}, "Choose a rule, a destination, or both."),
        ("/mutes", {"rule": "No such", "because": "Holiday"}, "The rules in force send nothing"),
        ("/mutes", {"rule": "Missed chats", "because": " "}, "Say why"),
        ("/chats/words", {"words": " "}, "Write the words to look for."),
    ],
)
async def test_a_form_that_can_not_be_done_says_why_and_changes_nothing(
    relay: RunningRelay, path: str, form: dict[str, str], words: str
) -> None:
    visitor = await signed_in(relay)
    relay.change("DELETE FROM acts")
    answer = await visitor.submit(path, **{"until": "1h", "destination": "", **form})
    assert answer.status == 422
    assert words in html.unescape(answer.text)
    if form.get("because") == "Holiday":  # is not to be written twice
        assert 'value="Holiday"' in answer.text
    assert relay.rows(ACTS) == []


@in_one_loop
async def test_a_viewer_is_shown_no_act(relay: RunningRelay) -> None:
    visitor = await signed_in(relay, "viewer")
    for path in ("/destinations", "/mutes"):
        forms = (await visitor.get(path)).text.count("<form")
        assert forms == 1, path  # to sign out


async def until_it_says(visitor: Visitor, path: str, words: str) -> None:
    """The relay sees what was written within two seconds."""
    while words not in (await visitor.get(path)).text:
        await visitor.get("/healthz")


@in_one_loop
async def test_an_admin_sees_the_hooks_url_and_it_is_written_down(relay: RunningRelay) -> None:
    relay.change("DELETE FROM acts")
    for role in ("viewer", "editor", "admin"):
        visitor = await signed_in(relay, role)
        page = (await visitor.get("/chats")).text
        assert "/hooks/smartsupp/…" in page
        assert TOKEN not in page
        assert ("Show the hook&#39;s URL" in page) == (role == "admin")
    for _ in range(2):
        assert f"/hooks/smartsupp/{TOKEN}" in (await visitor.submit("/hook-url", key="a")).text
    assert relay.rows(ACTS) == [("admin", "show hook url", "", "")] * 2


@in_one_loop
async def test_the_key_of_one_act_hides_no_other(relay: RunningRelay) -> None:
    visitor = await signed_in(relay)
    relay.change("DELETE FROM acts")
    assert (await relay.post(a_hook(51, missed=True))).status == 202
    ((number,),) = relay.rows("SELECT id FROM chats WHERE chat = '51'")
    for key in ("one", "two"):
        for place in ("desk", "room"):
            form = {"destination": place, "until": "open", "because": "it moves", "key": key}
            assert (await visitor.submit("/destinations/pause", **form)).status == 303
            form = {"destination": place, "key": key}
            assert (await visitor.submit("/destinations/resume", **form)).status == 303
        for _ in range(2):
            form = {"as": "csv", "key": key}
            got = await visitor.submit(f"/chats/{number}/export", **form)
            assert "208/51" in got.text
    moved = [("admin", act, at, "") for at in ("desk", "room") for act in ("pause", "resume")]
    exported = [("admin", "export", "208/51", "")] * 2
    assert relay.rows(ACTS) == [*moved, *exported] * 2

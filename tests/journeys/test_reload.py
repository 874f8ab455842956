"""The rules file is edited while the relay runs."""

import asyncio
import hashlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.builders import a_hook
from tests.running import RULES, MovableClock, RunningRelay, relay_process, running_relay, settings
from tests.servers import (
    DROP,
    HttpAnswer,
    HttpRequest,
    HttpServer,
    HttpStep,
    SmtpServer,
    json_answer,
)

pytestmark = pytest.mark.usefixtures("each_store_at_length")

OTHER_ROOM = """\
destinations:
  other: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - name: Finished chats
    when: {completed: true}
    send_to: other
"""


@pytest.fixture
async def receiving_servers() -> AsyncIterator[tuple[SmtpServer, HttpServer]]:
    async with SmtpServer() as mail, HttpServer() as room:
        yield mail, room


async def rules_state(relay: RunningRelay) -> dict[str, object]:
    ready = await relay.ask("GET", "/readyz")
    state: dict[str, object] = ready.json["rules"]
    return state


async def until_rules(relay: RunningRelay, **expected: object) -> dict[str, object]:
    """Asks /readyz until it says so; the test's time-out is the deadline."""
    while True:
        state = await rules_state(relay)
        if all(state[key] == value for key, value in expected.items()):
            return state


async def test_a_saved_file_takes_effect_with_new_destinations_and_rules(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    async with running_relay(tmp_path, smtp=mail.port, http=room.port) as relay:
        before = await rules_state(relay)
        assert (await relay.post(a_hook(1))).json["deliveries"] == 0
        (tmp_path / "rules.yaml").write_text(OTHER_ROOM, encoding="utf-8")
        while (await rules_state(relay))["hash"] == before["hash"]:
            pass
        assert (await relay.post(a_hook(2))).json["deliveries"] == 1
        await room.received(1)
        hashes = relay.rows("SELECT rules_hash FROM hooks ORDER BY id")
        assert hashes[0] == (before["hash"],) != hashes[1]


async def test_a_broken_file_keeps_the_old_rules_and_says_so_until_it_is_mended(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    async with running_relay(tmp_path, smtp=mail.port, http=room.port) as relay:
        rules = tmp_path / "rules.yaml"
        rules.write_text(RULES.replace("missed: true", "mised: true"), encoding="utf-8")
        while not (state := await rules_state(relay))["problems_of_the_saved_file"]:
            pass
        assert "did you mean missed" in str(state["problems_of_the_saved_file"])
        ready = await relay.ask("GET", "/readyz")
        assert ready.status == 200
        async with relay.client.get(f"{relay.url}/metrics") as metrics:
            assert "relay_rules_reload_failed 1.0" in await metrics.text()
        assert (await relay.post(a_hook(1, missed=True))).json["deliveries"] == 2
        await mail.received(1)
        rules.write_text(RULES, encoding="utf-8")
        await until_rules(relay, problems_of_the_saved_file=[])
        assert (await relay.post(a_hook(2, missed=True))).json["deliveries"] == 2


async def test_holidays_that_are_written_after_a_schedule_took_them_take_effect(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    closed = """\
schedules: {office: {except: [holidays CZ]}}
destinations:
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - {name: On holidays, when: {began: {outside: office}}, send_to: room}
"""
    async with running_relay(tmp_path, smtp=mail.port, http=room.port) as relay:
        (tmp_path / "rules.yaml").write_text(closed, encoding="utf-8")
        while not (state := await rules_state(relay))["problems_of_the_saved_file"]:
            pass
        assert "holidays CZ" in str(state["problems_of_the_saved_file"])
        # The day on which the hooks of these tests begin.
        (tmp_path / "holidays.yaml").write_text("CZ: {2025-11-22: A day}", encoding="utf-8")
        await until_rules(relay, problems_of_the_saved_file=[])
        assert (await relay.post(a_hook(1))).json["deliveries"] == 1
        (tmp_path / "holidays.yaml").write_text("CZ: {2025-11-21: A day}", encoding="utf-8")
        number = 2
        while (await relay.post(a_hook(number))).json["deliveries"]:
            number += 1


async def test_a_new_destination_whose_secret_is_not_there_is_refused(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    async with running_relay(tmp_path, smtp=mail.port, http=room.port) as relay:
        (tmp_path / "rules.yaml").write_text(
            OTHER_ROOM.replace("$ROOM_WEBHOOK", "$NO_SUCH_WEBHOOK"), encoding="utf-8"
        )
        while not (state := await rules_state(relay))["problems_of_the_saved_file"]:
            pass
        assert "NO_SUCH_WEBHOOK is not set" in str(state["problems_of_the_saved_file"])


async def test_a_file_that_begins_to_need_an_examples_value_is_refused_and_hooks_are_taken(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    async with running_relay(
        tmp_path, smtp=mail.port, http=room.port, RELAY_SLACK_TOKEN="xoxb-..."
    ) as relay:
        (tmp_path / "rules.yaml").write_text(
            OTHER_ROOM.replace("webhook: $ROOM_WEBHOOK", "channel: C0123456789"), encoding="utf-8"
        )
        while not (state := await rules_state(relay))["problems_of_the_saved_file"]:
            pass
        said = "RELAY_SLACK_TOKEN holds the value of an example; write your own in its place"
        assert said in str(state["problems_of_the_saved_file"])
        assert (await relay.post(a_hook(1, missed=True))).json["deliveries"] == 2


async def test_a_webhook_that_is_another_one_under_the_same_name_is_used_from_now_on(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    secret = tmp_path / "webhook"
    secret.write_text(f"http://127.0.0.1:{room.port}/services/old", encoding="utf-8")
    rules = OTHER_ROOM.replace("$ROOM_WEBHOOK", "$OTHER_WEBHOOK")
    async with running_relay(
        tmp_path, rules=rules, smtp=mail.port, OTHER_WEBHOOK_FILE=str(secret)
    ) as relay:
        await relay.post(a_hook(1))
        await room.received(1)
        before = await rules_state(relay)
        secret.write_text(f"http://127.0.0.1:{room.port}/services/new", encoding="utf-8")
        (tmp_path / "rules.yaml").write_text(f"# mended\n{rules}", encoding="utf-8")
        while (await rules_state(relay))["hash"] == before["hash"]:
            pass
        await relay.post(a_hook(2))
        await room.received(2)
    assert [one.target for one in room.requests] == ["/services/old", "/services/new"]


@pytest.mark.long
async def test_where_no_file_can_be_opened_for_a_while_the_saved_rules_take_effect_after_it(
    tmp_path: Path,
) -> None:
    with relay_process(settings(tmp_path)) as relay:
        async with aiohttp.ClientSession() as client:  # whose connection stays open

            async def state() -> dict[str, object]:
                async with client.get(f"{relay.url}/readyz") as answer:
                    rules: dict[str, object] = (await answer.json())["rules"]
                    return rules

            before = await state()
            files = resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, (1, files[1]))
            (tmp_path / "rules.yaml").write_text(OTHER_ROOM, encoding="utf-8")
            while not (await state())["problems_of_the_saved_file"]:
                pass
            assert (await state())["hash"] == before["hash"]
            resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, files)
            while (after := await state())["problems_of_the_saved_file"]:
                pass
            assert after["hash"] != before["hash"]


async def test_a_new_mail_password_in_its_file_is_used_and_what_waited_goes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with SmtpServer(users={"relay": "first-password"}) as mail, HttpServer() as room:
        file = tmp_path / "smtp-url"

        def write(password: str) -> None:
            draft = tmp_path / "draft"
            draft.write_text(f"smtp://relay:{password}@127.0.0.1:{mail.port}?insecure=yes\n")
            draft.rename(file)

        write("first-password")
        more: dict[str, Any] = {"RELAY_SMTP_URL": "", "RELAY_SMTP_URL_FILE": str(file)}
        async with running_relay(tmp_path, http=room.port, **more) as relay:
            await relay.post(a_hook(1, missed=True))
            # Its connection has been put back then: the next mail finds it, and no second one is opened.
            await relay.until("SELECT DISTINCT state FROM deliveries", ("delivered",))
            mail.users["relay"] = "second-password"
            mail.at("mail", DROP)  # or the connection that is kept would serve on
            await relay.post(a_hook(2, missed=True))
            while "desk" not in (await relay.ready())["broken_destinations"]:
                pass
            write("second-password")
            await mail.received(2)
            await relay.until("SELECT DISTINCT state FROM deliveries", ("delivered",))
            await relay.until("SELECT count(*) FROM gates", (0,))
    log = capsys.readouterr().err
    assert "secrets or holidays.yaml were read again from their files" in log
    assert "first-password" not in log
    assert "second-password" not in log


async def test_a_new_webhook_and_a_new_bot_token_in_their_files_are_used(tmp_path: Path) -> None:
    rules = """\
destinations:
  room: {slack: {webhook: $ROOM}, rate: unlimited}
  channel: {slack: {channel: C012345678}, rate: unlimited}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: [room, channel], template: missed}
"""
    webhook, token = tmp_path / "webhook", tmp_path / "token"
    async with HttpServer(usual=_yes_of_slack) as slack:
        webhook.write_text(slack.url("/services/T/B/first"))
        token.write_text("xoxb-first")
        more: dict[str, Any] = {
            "ROOM_FILE": str(webhook),
            "RELAY_SLACK_TOKEN_FILE": str(token),
            "RELAY_SLACK_API_URL": slack.url("/api"),
        }
        async with running_relay(tmp_path, rules=rules, http=slack.port, **more) as relay:
            await relay.post(a_hook(1, missed=True))
            await relay.until("SELECT DISTINCT state FROM deliveries", ("delivered",))
            webhook.write_text(slack.url("/services/T/B/second"))
            token.write_text("xoxb-second")
            number, used = 1, set[str]()
            while used != {"/services/T/B/second", "Bearer xoxb-second"}:
                number, before = number + 1, len(slack.requests)
                await relay.post(a_hook(number, missed=True))
                await relay.until("SELECT DISTINCT state FROM deliveries", ("delivered",))
                used = {_how(request) for request in slack.requests[before:]}


async def test_a_broken_destination_that_is_mended_in_the_rules_file_works_again(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    room.usual = lambda request: HttpAnswer(status=404 if "gone" in request.target else 200)
    more: dict[str, Any] = {"GONE": room.url("/services/T/B/gone"), "smtp": mail.port}
    broken = RULES.replace("$ROOM_WEBHOOK", "$GONE")
    async with running_relay(tmp_path, rules=broken, http=room.port, **more) as relay:
        await relay.post(a_hook(1, missed=True))
        while "room" not in (await relay.ready())["broken_destinations"]:
            pass
        (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
        await relay.until("SELECT DISTINCT state FROM deliveries", ("delivered",))
        await relay.until("SELECT count(*) FROM gates", (0,))


async def test_a_new_bot_token_does_not_wait_as_the_old_one_was_told_to(tmp_path: Path) -> None:
    rules = """\
destinations: {channel: {slack: {channel: C012345678}, rate: unlimited}}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: channel, template: missed}
"""

    def answer(request: HttpRequest) -> HttpStep:
        if "first" in _how(request):
            return HttpAnswer(status=429, headers={"Retry-After": "3600"})
        return _yes_of_slack(request)

    token = tmp_path / "token"
    async with HttpServer(usual=answer) as slack:
        token.write_text("xoxb-first")
        more: dict[str, Any] = {
            "RELAY_SLACK_TOKEN_FILE": str(token),
            "RELAY_SLACK_API_URL": slack.url("/api"),
        }
        async with running_relay(tmp_path, rules=rules, **more) as relay:
            await relay.post(a_hook(1, missed=True))
            await slack.received(1)
            await relay.until("SELECT count(*) FROM gates", (1,))
            token.write_text("xoxb-second")
            await relay.until("SELECT state FROM deliveries", ("delivered",))


def _yes_of_slack(request: HttpRequest) -> HttpStep:
    if "/api/" not in request.target:
        return HttpAnswer()
    return json_answer({"ok": True, "channel": "C012345678", "ts": "1763800000.000100"})


def _how(request: HttpRequest) -> str:
    return request.headers.get("authorization") or request.target


async def test_a_secret_that_can_t_be_used_changes_nothing_and_is_said(tmp_path: Path) -> None:
    async with SmtpServer() as mail, HttpServer() as room:
        file = tmp_path / "smtp-url"
        file.write_text(f"smtp://127.0.0.1:{mail.port}")
        more: dict[str, Any] = {"RELAY_SMTP_URL": "", "RELAY_SMTP_URL_FILE": str(file)}
        async with running_relay(tmp_path, http=room.port, **more) as relay:
            file.write_text("mail.example.com")
            state: dict[str, object] = {}
            while not state.get("problems_of_the_saved_file"):
                state = await rules_state(relay)
            assert "RELAY_SMTP_URL" in str(state["problems_of_the_saved_file"])
            await relay.post(a_hook(1, missed=True))
            await mail.received(1)


# -- what a destination leads to, whatever the file says of it ------------------------------------------------


ONE_AN_HOUR = """\
destinations:
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: 1/h}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: room, template: missed}
"""
TOO_MANY = HttpAnswer(status=429, body="rate_limited", headers={"Retry-After": "3000"})
SENT = "SELECT count(*) FROM deliveries WHERE state = 'delivered'"


async def saves(relay: RunningRelay, rules: str) -> None:
    """Saves the file, and waits until all of it is in force: only then its text is kept."""
    (relay.folder / "rules.yaml").write_text(rules, encoding="utf-8")
    hash_ = hashlib.sha256(rules.encode()).hexdigest()
    await relay.until("SELECT hash FROM rules_versions ORDER BY id DESC LIMIT 1", (hash_,))


@pytest.mark.parametrize(
    "edited",
    [
        ONE_AN_HOUR.replace("rate: 1/h", "rate: 1/h, language: cs"),
        ONE_AN_HOUR.replace("1/h", "1/2h"),
        ONE_AN_HOUR.replace("room", "lounge"),
        ONE_AN_HOUR.replace(
            "rules:", "  twin: {slack: {webhook: $ROOM_WEBHOOK}, rate: 1/h}\nrules:"
        ).replace("send_to: room", "send_to: twin"),
    ],
    ids=["language", "rate", "name", "twin"],
)
@pytest.mark.parametrize("answer", [HttpAnswer(), TOO_MANY], ids=["pace", "gate"])
async def test_pace_and_gate_of_a_webhook_outlive_every_edit(
    tmp_path: Path, edited: str, answer: HttpAnswer
) -> None:
    rules = ONE_AN_HOUR if answer is not TOO_MANY else ONE_AN_HOUR.replace("rate: 1/h", "rate: 9/h")
    edited = edited if answer is not TOO_MANY else edited.replace("rate: 1/h", "rate: 9/h")
    async with (
        HttpServer(answer) as room,
        running_relay(tmp_path, rules=rules, http=room.port, clock=MovableClock()) as relay,
    ):
        await relay.post(a_hook(1, missed=True))
        await room.received(1)
        await relay.until("SELECT count(*) FROM attempts WHERE ended_at > 0", (1,))
        await saves(relay, edited)
        await relay.post(a_hook(2, missed=True))
        assert (await relay.ready())["deliveries"]["queued"] > 0
        await saves(relay, f"# again\n{edited}")
        assert len(room.requests) == 1
        await relay.forward(queued=1 + (answer is TOO_MANY), hours=2)
        await relay.post(a_hook(3))
        await relay.post(a_hook(4, missed=True))
        await room.received(2)


async def test_two_destinations_of_one_webhook_keep_one_pace(tmp_path: Path) -> None:
    rules = ONE_AN_HOUR.replace(
        "rules:", "  twin: {slack: {webhook: $ROOM_WEBHOOK}, rate: 1/h}\nrules:"
    ).replace("send_to: room", "send_to: [room, twin]")
    async with HttpServer() as room:
        async with running_relay(
            tmp_path, rules=rules, http=room.port, clock=MovableClock()
        ) as relay:
            for sent in (1, 2, 3, 4):
                if sent > 1:
                    await relay.forward(queued=sent - 1, hours=1)
                await relay.post(a_hook(sent, missed=True))
                await relay.until(SENT, (sent,))
                assert len(room.requests) == sent
        # Every other claim prefers what is new, so how often each is served depends on how many claims there were.
        served = relay.rows("SELECT DISTINCT destination FROM deliveries WHERE state = 'delivered'")
        assert sorted(served) == [("room",), ("twin",)]


# -- what waits when its destination is changed ---------------------------------------------------------------

MAIL_WAITS = """\
destinations:
  desk: {email: {to: [hepl@example.com, anna@example.com]}}
rules:
  - {name: Missed chats, when: {missed: true}, send_to: desk, template: missed}
"""
TO_THE_ROOM = MAIL_WAITS.replace(
    "email: {to: [hepl@example.com, anna@example.com]}",
    "slack: {webhook: $ROOM_WEBHOOK}, rate: 9/s",
)
STATES = "SELECT recipient, state FROM deliveries ORDER BY id"
NOT_NOW = "451 4.3.0 come back later"


async def until_tried(relay: RunningRelay, count: int) -> None:
    tried = "SELECT count(DISTINCT delivery_id) FROM attempts WHERE ended_at > 0"
    await relay.until(tried, (count,))


async def test_what_waits_for_a_mistyped_address_goes_to_the_corrected_one_once(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    mail.at("rcpt", NOT_NOW, NOT_NOW)
    async with running_relay(tmp_path, rules=MAIL_WAITS, smtp=mail.port, http=room.port) as relay:
        await relay.post(a_hook(1, missed=True))
        await until_tried(relay, 2)
        await saves(relay, MAIL_WAITS.replace("hepl@", "help@"))
        both = await mail.received(2)
        assert sorted(one.recipients[0] for one in both) == ["anna@example.com", "help@example.com"]
        await relay.until(
            STATES,
            ("hepl@example.com", "moved"),
            ("anna@example.com", "delivered"),
            ("help@example.com", "delivered"),
        )
        assert relay.rows("SELECT detail FROM deliveries WHERE state = 'moved'") == [
            ("desk no longer leads to this recipient; its 2 recipients get it instead",)
        ]
        assert (await relay.ready())["deliveries"] == {"queued": 0, "scheduled": 0, "sending": 0}


async def test_what_waits_goes_where_its_destination_leads_now_and_back_again(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    mail.at("rcpt", NOT_NOW, times=None)
    room.usual = HttpAnswer(status=408)
    async with running_relay(tmp_path, rules=MAIL_WAITS, smtp=mail.port, http=room.port) as relay:
        await relay.post(a_hook(1, missed=True))
        await until_tried(relay, 2)
        await saves(relay, TO_THE_ROOM)
        await room.received(1)  # one post for the two mails
        await relay.until(
            STATES, ("hepl@example.com", "moved"), ("anna@example.com", "moved"), ("desk", "queued")
        )
        mail.as_usual()
        await saves(relay, MAIL_WAITS)
        await mail.received(2)
        await relay.until(
            STATES,
            ("hepl@example.com", "delivered"),
            ("anna@example.com", "delivered"),
            ("desk", "moved"),
        )
        posted = """
            SELECT count(*) FROM attempts JOIN deliveries ON delivery_id = deliveries.id
            WHERE recipient = 'desk' AND ending = 'later'
        """
        assert relay.rows(posted) == [(len(room.requests),)]


async def test_a_destination_that_was_changed_while_the_relay_was_off_gets_what_waits_at_once(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    mail, room = receiving_servers
    mail.at("rcpt", NOT_NOW, NOT_NOW)
    async with running_relay(tmp_path, rules=MAIL_WAITS, smtp=mail.port, http=room.port) as relay:
        await relay.post(a_hook(1, missed=True))
        await until_tried(relay, 2)
    async with running_relay(tmp_path, rules=TO_THE_ROOM, smtp=mail.port, http=room.port) as relay:
        await room.received(1)
        await relay.until(
            STATES,
            ("hepl@example.com", "moved"),
            ("anna@example.com", "moved"),
            ("desk", "delivered"),
        )


NAMES = [f"place-{number}" for number in range(8)]
BY_MAIL, BY_SLACK = (
    "destinations:\n"
    + "".join(f"  {name}: {way}\n" for name in NAMES)
    + f"rules:\n  - {{name: Missed, when: {{missed: true}}, send_to: [{', '.join(NAMES)}]}}\n"
    for way in (
        "{email: {to: desk@example.com}}",
        "{slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}",
    )
)


async def test_a_hook_that_comes_in_while_a_saved_file_takes_effect_goes_by_one_of_the_two(
    tmp_path: Path, receiving_servers: tuple[SmtpServer, HttpServer]
) -> None:
    """Never by the old way to whom only the new rules name."""
    mail, room = receiving_servers
    async with running_relay(tmp_path, rules=BY_MAIL, smtp=mail.port, http=room.port) as relay:

        async def come_in() -> None:
            for chat in range(10_000):
                await relay.post(a_hook(chat, missed=True))

        coming = asyncio.create_task(come_in())
        for _ in range(3):
            await saves(relay, BY_SLACK)
            await saves(relay, BY_MAIL)
        coming.cancel()
        await relay.until("SELECT 1 FROM deliveries WHERE state IN ('queued', 'sending') LIMIT 1")
        assert relay.rows("SELECT DISTINCT detail FROM deliveries WHERE state = 'failed'") == []

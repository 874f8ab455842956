"""`relay send-test`: one attempt at each recipient, and in words how it ended."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.cli.commands import Said
from tests.rules import commands
from tests.servers import DROP, HANG, HttpAnswer, HttpServer, HttpStep, SmtpServer, json_answer

RULES = """\
recipient_domains: [example.net]
destinations:
  sales: {email: {to: [sales@example.com, "Anna <anna@example.com>"]}}
  owners: {email: {to: "{{ visitor.variables.owner }}"}}
  room: {slack: {webhook: $ROOM_WEBHOOK}}
  bots: {slack: {channel: C0123456789}}
  managers: {teams: {webhook: $MANAGERS_WEBHOOK}}
rules:
  - {name: All, when: always, send_to: [sales, owners, room, bots, managers]}
"""
SECRET = "T0P/SECRET"


def variables(folder: Path, *, mail: int = 9, web: int = 9, **more: str) -> dict[str, str]:
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    return {
        "RELAY_RULES": str(folder / "rules.yaml"),
        "RELAY_SMTP_URL": f"smtp://127.0.0.1:{mail}",
        "RELAY_MAIL_FROM": "Relay <relay@example.org>",
        "RELAY_SLACK_TOKEN": "xoxb-1",
        "RELAY_SLACK_API_URL": f"http://127.0.0.1:{web}/api/",
        "RELAY_ALLOW_PRIVATE_WEBHOOKS": "yes",
        "ROOM_WEBHOOK": f"http://127.0.0.1:{web}/services/{SECRET}",
        "MANAGERS_WEBHOOK": f"http://127.0.0.1:{web}/workflows/{SECRET}",
        **more,
    }


async def relay(own: dict[str, str], *arguments: str) -> Said:
    """In this process, beside the servers: a test sends a lot of these."""
    result = await asyncio.to_thread(commands.relay, *arguments, **own)  # type: ignore[arg-type]
    return Said(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
async def mail() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


async def test_it_says_so_in_the_language_of_the_destination(
    tmp_path: Path, mail: SmtpServer
) -> None:
    own = variables(tmp_path, mail=mail.port)
    (tmp_path / "rules.yaml").write_text(f"language: de\n{RULES}", encoding="utf-8")
    assert (await relay(own, "send-test", "sales")).status == 0
    said = " ".join(mail.mails[0].part("plain").split())
    assert "Dies ist ein Test: Jemand hat `relay send-test sales` ausgeführt" in said


async def test_each_recipient_gets_a_mail_that_says_that_it_is_a_test(
    tmp_path: Path, mail: SmtpServer
) -> None:
    said = await relay(variables(tmp_path, mail=mail.port), "send-test", "sales")
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines() == [
        f"{to}: delivered (250 2.0.0 queued as T{number})"
        for number, to in enumerate(("sales@example.com", "anna@example.com"), 1)
    ]
    assert [one.recipients for one in mail.mails] == [("sales@example.com",), ("anna@example.com",)]
    first = mail.mails[0].message
    assert "TEST (relay send-test)" in str(first["Subject"])
    for part in ("plain", "html"):
        assert "This is a test: somebody ran `relay send-test sales`" in " ".join(
            mail.mails[0].part(part).split()
        )


@pytest.mark.parametrize("template", ["chat", "offline", "low_rating", "vip"])
async def test_another_template_and_one_recipient_may_be_chosen(
    tmp_path: Path, mail: SmtpServer, template: str
) -> None:
    said = await relay(
        variables(tmp_path, mail=mail.port),
        *("send-test", "sales", "--to", "Anna@Example.com", "--template", template, "--json"),
    )
    assert said.status == 0
    assert [one["recipient"] for one in said.json["recipients"]] == ["anna@example.com"]
    assert "TEST (relay send-test)" in str(mail.mails[0].message["Subject"])
    assert len(mail.mails) == 1


async def test_one_refused_recipient_does_not_stop_the_others(
    tmp_path: Path, mail: SmtpServer
) -> None:
    mail.at("rcpt", "550 5.1.1 no such user")
    said = await relay(variables(tmp_path, mail=mail.port), "send-test", "sales")
    assert said.status == 1
    first, cure, command, second = said.out.splitlines()
    assert cure.startswith("  The server does not take mail for this recipient")
    assert command == "  Then run: relay deliveries --failed"
    assert first.startswith("sales@example.com: refused (")
    assert first.endswith("not delivered, and it would be refused again; fix what the answer names")
    assert second.startswith("anna@example.com: delivered")


async def test_a_mail_server_that_says_nothing_is_told_of_with_what_it_may_be(
    tmp_path: Path, mail: SmtpServer
) -> None:
    mail.at("greeting", HANG)
    said = await relay(
        variables(tmp_path, mail=mail.port),
        *("send-test", "sales", "--to", "sales@example.com", "--timeout", "3"),
    )
    assert said.status == 1
    assert "later (127.0.0.1 did not answer the greeting within 2.7 s; if it encrypts" in said.out


async def test_a_refused_login_names_the_settings_to_look_at(tmp_path: Path) -> None:
    async with SmtpServer(users={"u": "right"}) as mail:
        url = f"smtp://u:wrong-password@127.0.0.1:{mail.port}?insecure=yes"
        said = await relay(variables(tmp_path, RELAY_SMTP_URL=url), "send-test", "sales")
    assert said.status == 1
    assert "destination broken" in said.out
    assert "look at RELAY_SMTP_URL or RELAY_MAIL_FROM" in said.out
    assert "wrong-password" not in said.out + said.err


@pytest.mark.parametrize(
    ("secret", "grant"),
    [
        ("RELAY_SMTP_OAUTH_CLIENT_SECRET", "client_credentials"),
        ("RELAY_SMTP_OAUTH_REFRESH_TOKEN", "refresh_token"),
    ],
)
async def test_with_oauth_in_the_settings_a_token_is_the_login(
    tmp_path: Path, secret: str, grant: str
) -> None:
    user, token = "relay@example.org", json_answer({"access_token": "token-1", "expires_in": 3600})
    async with (
        SmtpServer(users={user: "token-1"}, mechanisms="XOAUTH2") as mail,
        HttpServer(usual=token) as endpoint,
    ):
        own = variables(
            tmp_path,
            RELAY_SMTP_URL=f"smtp://relay%40example.org@127.0.0.1:{mail.port}?insecure=yes",
            RELAY_SMTP_OAUTH_TOKEN_URL=endpoint.url("/token"),
            RELAY_SMTP_OAUTH_CLIENT_ID="client-1",
        )
        own[secret] = SECRET
        said = await relay(own, "send-test", "sales")
    assert (said.status, said.err) == (0, "")
    assert [one.user for one in mail.mails] == [user, user]
    (asked,) = [parse_qs(request.body.decode()) for request in endpoint.requests]
    assert (asked["grant_type"], asked["client_id"]) == ([grant], ["client-1"])
    assert asked[secret.removeprefix("RELAY_SMTP_OAUTH_").lower()] == [SECRET]
    assert SECRET not in said.out


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (HttpAnswer(), 0, "room: delivered (Slack answered ok)"),
        (HttpAnswer(status=404, body="no_service"), 1, "room: destination broken (Slack answered 404 no_service): nothing is delivered there until that is fixed; look at ROOM_WEBHOOK"),
        (HttpAnswer(status=400, body="invalid_blocks"), 1, "room: refused (Slack answered 400 invalid_blocks): not delivered"),
        (HttpAnswer(status=429, body="rate_limited", headers={"Retry-After": "17"}), 1, "room: rate limited (Slack answered 429 rate_limited): not delivered; try again after 17 s"),
        (HttpAnswer(status=500, body="rollup_error"), 1, "room: maybe delivered (Slack answered 500 rollup_error): check whether it arrived before you send another one"),
        (HttpAnswer(status=408, body=""), 1, "room: later (Slack answered 408): not delivered, for a reason that may pass"),
        (DROP, 1, "room: maybe delivered (Slack dropped the line before it answered): check whether it arrived"),
        (HANG, 1, "room: maybe delivered (no answer within 2 s): check whether it arrived"),
    ],
)  # fmt: skip
@pytest.mark.long
async def test_slacks_answer_is_told_in_words(
    tmp_path: Path, answer: HttpStep, status: int, words: str
) -> None:
    async with HttpServer(usual=answer) as web:
        patience = "2" if answer is HANG else "60"
        said = await relay(
            variables(tmp_path, web=web.port), "send-test", "room", "--timeout", patience
        )
        assert len(web.requests) == 1
    assert said.status == status
    assert said.out.startswith(words)
    assert SECRET not in said.out + said.err


async def test_a_202_of_teams_is_no_proof(tmp_path: Path) -> None:
    async with HttpServer(usual=HttpAnswer(status=202, body="")) as web:
        said = await relay(variables(tmp_path, web=web.port), "send-test", "managers")
    assert said.status == 0
    assert said.out == (
        "managers: accepted (Teams answered 202): look in the channel, this does not prove that it was posted\n"
    )


async def test_a_bot_posts_the_test_and_its_transcript(tmp_path: Path) -> None:
    async with HttpServer(usual=json_answer({"ok": True, "ts": "1.1"})) as web:
        said = await relay(variables(tmp_path, web=web.port), "send-test", "bots")
        posts = [request.json() for request in web.requests]
    assert said.status == 0
    assert [post.get("thread_ts") for post in posts] == [None, "1.1"]
    assert "TEST (relay send-test)" in posts[0]["text"]


async def test_a_broken_template_is_said_and_the_built_in_wording_sent(
    tmp_path: Path, mail: SmtpServer
) -> None:
    subject = tmp_path / "templates" / "missed" / "subject.txt"
    subject.parent.mkdir(parents=True)
    subject.write_text("{{ nobody.knows }}", encoding="utf-8")
    own = variables(tmp_path, mail=mail.port, RELAY_TEMPLATES=str(tmp_path / "templates"))
    said = await relay(own, "send-test", "sales", "--to", "sales@example.com")
    assert said.status == 1
    assert f"{subject}:1: there is nothing called 'nobody' here" in said.out
    assert "template broken" in str(mail.mails[0].message["Subject"])


async def test_recipients_that_hang_on_the_chat_are_named_by_hand(
    tmp_path: Path, mail: SmtpServer
) -> None:
    own = variables(tmp_path, mail=mail.port)
    nobody = await relay(own, "send-test", "owners")
    anna = await relay(own, "send-test", "owners", "--to", "anna@example.net")
    elsewhere = await relay(own, "send-test", "owners", "--to", "anna@example.org")
    assert (nobody.status, anna.status, elsewhere.status) == (2, 0, 2)
    assert "name a recipient: --to" in nobody.err
    assert "anna@example.org is not a recipient of owners" in elsewhere.err
    assert [one.recipients for one in mail.mails] == [("anna@example.net",)]


async def could_not_run(own: dict[str, str], *arguments: str) -> Said:
    said = await relay(own, "send-test", *arguments)
    assert (said.status, said.out) == (2, "")
    return said


async def test_what_is_missing_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    own = variables(tmp_path)
    secret = await could_not_run({**own, "ROOM_WEBHOOK": "", "MANAGERS_WEBHOOK": ""}, "room")
    destination = await could_not_run(own, "rom")
    template = await could_not_run(own, "room", "--template", "mised")
    assert f"{own['RELAY_RULES']}:5:27: ROOM_WEBHOOK is not set" in secret.err
    assert "MANAGERS_WEBHOOK" not in secret.err
    assert "there is no destination “rom”; did you mean room" in destination.err
    assert "there is no template “mised”; did you mean missed" in template.err

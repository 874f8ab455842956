"""`relay check --connect`: each destination's server is asked, and nothing is sent."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Said
from tests.cli.test_send_test import SECRET, relay, variables
from tests.servers import HttpAnswer, HttpRequest, HttpServer, HttpStep, SmtpServer, json_answer
from tests.tcp import free_port

USERS = {"relay": "open-sesame"}


def login(mail: SmtpServer, word: str = "open-sesame") -> str:
    return f"smtp://relay:{word}@127.0.0.1:{mail.port}?insecure=yes"


@pytest.fixture
async def mail() -> AsyncIterator[SmtpServer]:
    async with SmtpServer(users=USERS) as server:
        yield server


@pytest.fixture
async def web() -> AsyncIterator[HttpServer]:
    def usual(request: HttpRequest) -> HttpStep:
        if request.target == "/api/auth.test":
            scopes = {"X-OAuth-Scopes": "chat:write,files:write"}
            return json_answer({"ok": True, "team": "Shop", "user": "relay"}, headers=scopes)
        return HttpAnswer(status=404, body="")

    async with HttpServer(usual=usual) as server:
        yield server


async def connect(own: dict[str, str], *more: str) -> Said:
    return await relay(own, "check", "--connect", *more)


async def told(own: dict[str, str]) -> dict[str, tuple[bool, str]]:
    said = await connect(own, "--json")
    tried: list[dict[str, Any]] = said.json["connections"]
    return {one["destination"]: (one["ok"], one["detail"]) for one in tried}


async def test_it_logs_in_everywhere_reads_limits_and_sends_nothing(
    tmp_path: Path, mail: SmtpServer, web: HttpServer
) -> None:
    own = variables(tmp_path, mail=mail.port, web=web.port, RELAY_SMTP_URL=login(mail))
    said = await connect(own)
    host = "127.0.0.1 answers; whether it takes this webhook can be seen only by a post"
    mailed = (
        f"connected to 127.0.0.1:{mail.port}, in clear text, logged in as relay, "
        "for mails of at most 10,485,760 bytes"
    )
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines()[:5] == [
        f"sales (email): ok: {mailed}",
        f"owners (email): ok: {mailed}",
        f"room (slack): ok: {host}",
        "bots (slack): ok: logged in to Shop as relay; whether it may post to C0123456789 can be seen only by a post",
        f"managers (teams): ok: {host}",
    ]
    assert mail.mails == []
    assert set(mail.verbs()) <= {"EHLO", "AUTH", "QUIT", "RSET"}
    assert mail.verbs().count("AUTH") == 1
    asked = {(request.method, request.target) for request in web.requests}
    assert asked == {("GET", "/"), ("POST", "/api/auth.test")}
    assert SECRET not in str([request.target for request in web.requests])


async def test_what_is_refused_or_away_is_said_for_each(
    tmp_path: Path, mail: SmtpServer, web: HttpServer
) -> None:
    own = variables(
        tmp_path,
        web=web.port,
        RELAY_SMTP_URL=login(mail, "not-the-password"),
        ROOM_WEBHOOK=f"http://127.0.0.1:{free_port()}/services/{SECRET}",
        MANAGERS_WEBHOOK=f"https://outlook.office.com/webhook/{SECRET}",
    )
    web.steps.append(json_answer({"ok": False, "error": "invalid_auth"}))
    found = await told(own)
    assert {name: well for name, (well, _) in found.items()} == dict.fromkeys(found, False)
    assert "answered the login with 535" in found["sales"][1]
    assert mail.verbs().count("AUTH") == 1  # for both destinations
    assert "Slack could not be reached" in found["room"][1]
    assert "invalid_auth" in found["bots"][1]
    assert "Office 365 connector" in found["managers"][1]
    web.steps.append(json_answer({"ok": False, "error": "invalid_auth"}))
    said = await connect(own)
    assert said.status == 1
    cured = said.out.splitlines()
    assert "  The login is refused: check user name and password in RELAY_SMTP_URL" in said.out
    assert "  The token is wrong: copy the Bot User OAuth Token" in said.out
    assert "  Then run: relay check --connect" in cured
    assert SECRET not in said.out + said.err
    assert "not-the-password" not in said.out + said.err


async def test_a_bot_that_lacks_a_scope_is_told_which(
    tmp_path: Path, mail: SmtpServer, web: HttpServer
) -> None:
    web.steps.append(json_answer({"ok": True}, headers={"X-OAuth-Scopes": "chat:write"}))
    own = variables(tmp_path, web=web.port, RELAY_SMTP_URL=login(mail))
    own["RELAY_RULES"] = str(tmp_path / "bot.yaml")
    (tmp_path / "bot.yaml").write_text(
        "destinations: {bots: {slack: {channel: C0123456789}}}\n"
        "rules: [{name: All, when: always, send_to: bots}]\n"
    )
    assert await told(own) == {"bots": (False, "the bot lacks files:write")}


async def test_what_lacks_a_setting_is_not_tried(tmp_path: Path, web: HttpServer) -> None:
    own = variables(tmp_path, web=web.port)
    del own["RELAY_SMTP_URL"], own["ROOM_WEBHOOK"]
    found = await told(own)
    assert found["sales"] == (False, "not tried: mail needs RELAY_SMTP_URL and RELAY_MAIL_FROM")
    assert found["room"] == (False, "not tried: ROOM_WEBHOOK is not set")


async def test_a_file_with_mistakes_is_not_connected_for(tmp_path: Path, web: HttpServer) -> None:
    own = variables(tmp_path, web=web.port)
    (tmp_path / "rules.yaml").write_text("rules: nothing\n")
    said = await connect(own)
    assert said.status == 1
    assert web.requests == []

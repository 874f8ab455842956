"""`relay serve`: what it prints, where it keeps its token, and what keeps it from starting."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import aiohttp
import pytest

from tests.builders import a_hook
from tests.cli.running import relay
from tests.running import RULES, TOKEN, settings
from tests.servers import DEADLINE, SmtpServer

FIELDS_OF_AN_ATTEMPT = (
    *("chat", "rule", "destination", "delivery", "attempt", "outcome", "state"),
)
URL = re.compile(r"http://127\.0\.0\.1:\d+/hooks/smartsupp/(\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Serving:
    """A `relay serve` under way."""

    first_line: str
    out: str = ""
    err: str = ""

    @property
    def url(self) -> str:
        return self.first_line.split("takes hooks at ")[1].strip()

    async def post(self, url: str, body: bytes) -> int:
        async with aiohttp.ClientSession() as client, client.post(url, data=body) as answer:
            return answer.status


@contextmanager
def serving(variables: Mapping[str, str]) -> Iterator[Serving]:
    """Takes hooks; what it printed is whole when it has ended, at the end of the block."""
    with (
        TemporaryFile("w+") as errors,  # a pipe that nobody reads would fill up
        subprocess.Popen(
            [sys.executable, "-m", "relay", "serve"],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        found = Serving(process.stdout.readline())
        try:
            assert "takes hooks at" in found.first_line
            yield found
        finally:
            process.terminate()
            found.out = found.first_line + process.stdout.read()
            assert process.wait(DEADLINE) == 0
            errors.seek(0)
            found.err = errors.read()


def without_token(folder: Path) -> dict[str, str]:
    variables = settings(folder)
    del variables["RELAY_HOOK_TOKENS"]
    return variables


async def test_without_a_token_it_makes_one_and_prints_the_hooks_url(tmp_path: Path) -> None:
    with serving(without_token(tmp_path)) as first:
        assert await first.post(first.url, a_hook()) == 202
        assert await first.post(first.url + "x", a_hook()) == 404
    token = first.url.rpartition("/")[2]
    assert len(token) >= 32
    assert first.out == (
        f"The relay takes hooks at {first.url}\n"
        "Give Smartsupp this URL. It is a secret; `relay hook-url` shows it again. "
        f"Its token is kept in {tmp_path}/relay.db.token.\n"
    )
    assert token not in first.err


@pytest.mark.long
async def test_the_token_it_made_is_kept_over_restarts_for_its_owner_only(tmp_path: Path) -> None:
    with serving(without_token(tmp_path)) as first:
        pass
    file = tmp_path / "relay.db.token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() == first.url.rpartition("/")[2]
    token = first.url.rpartition("/")[2]
    with serving(without_token(tmp_path)) as second:
        assert await second.post(second.url.replace("<the token>", token), a_hook()) == 202
    assert "`relay hook-url` shows the whole URL." in second.out
    assert token not in second.out + second.err
    assert not list(tmp_path.glob("*.new"))


async def test_a_new_token_beside_a_database_with_chats_brings_a_warning(tmp_path: Path) -> None:
    """The file was lost, and Smartsupp's URL with it."""
    with serving(without_token(tmp_path)) as first:
        assert await first.post(first.url, a_hook()) == 202
    token = tmp_path / "relay.db.token"
    token.unlink()
    with serving(without_token(tmp_path)) as second:
        pass
    with serving(without_token(tmp_path)) as third:
        pass
    words = f"{token} is not there, so the hook's URL has a new token"
    assert [words in run.err for run in (first, second, third)] == [False, True, False]


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"\xff\xfe" * 20, b"two words" * 4])
@pytest.mark.long
async def test_a_token_file_that_holds_no_token_opens_the_door_to_nobody(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "relay.db.token").write_bytes(content)
    ran = await asyncio.to_thread(relay, "serve", variables=without_token(tmp_path))
    assert (ran.status, ran.out) == (2, "")
    assert f"{tmp_path}/relay.db.token" in ran.err
    assert "the end of the URL that Smartsupp posts to" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.long
async def test_a_token_of_the_environment_is_never_printed(tmp_path: Path) -> None:
    with serving(settings(tmp_path)) as found:
        url = found.url.replace("<the token>", TOKEN)
        assert url.endswith(TOKEN)
        assert await found.post(url, a_hook()) == 202
        assert await found.post(url[:-1], a_hook()) == 404
    assert TOKEN not in found.out + found.err
    assert TOKEN[:-1] not in found.out + found.err
    assert not (tmp_path / "relay.db.token").exists()


@pytest.mark.long
async def test_a_public_url_is_what_it_prints(tmp_path: Path) -> None:
    public = "https://relay.example.com/in"
    with serving(settings(tmp_path, RELAY_PUBLIC_URL=f"{public}/")) as found:
        pass
    assert found.out.startswith(f"The relay takes hooks at {public}/hooks/smartsupp/<the token>\n")
    assert "console" not in found.out


async def test_it_prints_where_the_console_is_and_for_whom(tmp_path: Path) -> None:
    with serving(settings(tmp_path, RELAY_CONSOLE_PASSWORD="four words or more")) as found:
        pass
    at = found.url.partition("/hooks/")[0]
    assert found.out.endswith(f"The console is at {at}/; sign in as admin.\n")


@pytest.mark.long
async def test_logs_are_json_lines_when_asked_for(tmp_path: Path) -> None:
    with serving(settings(tmp_path, RELAY_LOG_FORMAT="json")) as found:
        await found.post(found.url.rpartition("/")[0] + f"/{TOKEN}", a_hook())
    assert '"message": "POST /hooks/smartsupp/*** 202 208/1' in found.err
    assert all(line.startswith('{"time": ') for line in found.err.splitlines())


@pytest.mark.long
async def test_a_json_line_has_a_field_for_the_chat_the_delivery_and_how_it_ended(
    tmp_path: Path,
) -> None:
    async with SmtpServer() as mail:
        only_mail = RULES.replace("send_to: [desk, room]", "send_to: desk")
        variables = settings(tmp_path, rules=only_mail, smtp=mail.port, RELAY_LOG_FORMAT="json")
        with serving(variables) as found:
            await found.post(found.url.rpartition("/")[0] + f"/{TOKEN}", a_hook(7, missed=True))
            await mail.received(1)
    lines = [json.loads(line) for line in found.err.splitlines()]
    (hook,) = (line for line in lines if line["logger"] == "relay.web.hook")
    assert (hook["chat"], hook["status"], hook["deliveries"]) == ("208/7", 202, 1)
    (told,) = (line for line in lines if "delivery" in line)
    assert {name: told[name] for name in FIELDS_OF_AN_ATTEMPT} == {
        "chat": "208/7",
        "rule": "Missed chats",
        "destination": "desk",
        "delivery": 1,
        "attempt": 1,
        "outcome": "delivered",
        "state": "delivered",
    }


@pytest.mark.long
def test_all_that_is_wrong_with_settings_and_rules_is_said_at_once(tmp_path: Path) -> None:
    rules = "destinations: {}\nrules:\n  - {name: A, when: {mised: true}, send_to: nowhere}\n"
    variables = settings(tmp_path, rules=rules, RELAY_LISTEN="8000", RELAY_LOG_FORMAT="xml")
    ran = relay("serve", variables=variables)
    assert (ran.status, ran.out) == (2, "")
    first, *problems = ran.err.splitlines()
    assert first == "The relay can't start:"
    assert all(problem.startswith("  ") for problem in problems)
    for words in ("RELAY_LISTEN: ", "RELAY_LOG_FORMAT: ", "rules.yaml:3:.*mised", "3:.*nowhere"):
        assert re.search(words, ran.err)
    assert not (tmp_path / "relay.db").exists()


@pytest.mark.long
def test_a_rules_file_that_is_missing_is_named(tmp_path: Path) -> None:
    variables = {**settings(tmp_path), "RELAY_RULES": str(tmp_path / "missing.yaml")}
    ran = relay("serve", variables=variables)
    assert (ran.status, ran.out) == (2, "")
    assert f"{tmp_path}/missing.yaml" in ran.err
    assert "Traceback" not in ran.err


def test_a_webhook_that_is_not_set_is_named_with_its_place_in_the_rules(tmp_path: Path) -> None:
    variables = settings(tmp_path)
    del variables["ROOM_WEBHOOK"]
    ran = relay("serve", variables=variables)
    assert ran.status == 2
    assert "ROOM_WEBHOOK is not set in relay.env or the environment" in ran.err
    assert "rules.yaml:3:" in ran.err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("relay.db", b"", "relay.db is empty"),
        ("relay.db", b"no database" * 100, "relay.db is not an SQLite database"),
    ],
)
@pytest.mark.long
def test_a_file_that_is_not_its_own_is_left_alone(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    ran = relay("serve", variables=settings(tmp_path))
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err
    assert (tmp_path / name).read_bytes() == content


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    database = tmp_path / "missing" / "relay.db"
    variables = settings(tmp_path, RELAY_DATABASE=f"sqlite:///{database}")
    ran = relay("serve", variables=variables)
    assert ran.status == 2
    assert str(database.parent) in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"RELAY_SMTP_URL": "smtps://me:app-password@mail"},
            "RELAY_SMTP_URL holds the value of an example; write your own in its place",
        ),
        (
            {"RELAY_SMTP_URL": "smtps://me:pass@mail"},
            "the password in RELAY_SMTP_URL has fewer than 8",
        ),
        (
            {"RELAY_SMTP_OAUTH_CLIENT_SECRET": "change-me"},
            "RELAY_SMTP_OAUTH_CLIENT_SECRET holds the value of an example",
        ),
        (
            {"RELAY_HOOK_TOKENS": "your-token-0123456789"},
            "RELAY_HOOK_TOKENS holds the value of an example",
        ),
    ],
)
@pytest.mark.long
def test_it_does_not_start_with_what_check_refuses_in_a_setting_that_it_needs(
    tmp_path: Path, variables: dict[str, Any], said: str
) -> None:
    for command in ("serve", "check"):
        ran = relay(command, variables=settings(tmp_path, **variables))
        assert ran.status != 0
        assert said in ran.err
    assert not (tmp_path / "relay.db").exists()


@pytest.mark.long
def test_it_starts_with_an_example_where_no_destination_needs_it(tmp_path: Path) -> None:
    with serving(settings(tmp_path, RELAY_SLACK_TOKEN="xoxb-...")) as served:
        assert served.url

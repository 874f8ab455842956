"""`relay hook-url`: where Smartsupp posts to, and a new token in one command, without losing hooks."""

import asyncio
import os
from pathlib import Path

import pytest

from relay.web.hook import PATH
from tests.builders import a_hook
from tests.cli.running import Ran, relay
from tests.running import TOKEN, RunningRelay, running_relay

OTHER = "another-token-0123456789"
PUBLIC = "https://relay.example.com"


async def run(folder: Path, *arguments: str, **variables: str) -> Ran:
    ours = {"RELAY_DATABASE": f"sqlite:///{folder}/relay.db", "RELAY_PUBLIC_URL": PUBLIC}
    return await asyncio.to_thread(relay, "hook-url", *arguments, variables=ours | variables)


def token_of(ran: Ran) -> str:
    assert ran.status == 0
    return ran.out.removeprefix(f"{PUBLIC}{PATH}/").strip()


async def answer(running: RunningRelay, token: str) -> int:
    url = f"{running.url}{PATH}/{token}"
    return (await running.ask("POST", url, data=a_hook(1))).status


async def test_a_new_token_is_taken_beside_the_previous_one_until_that_is_ended(
    tmp_path: Path,
) -> None:
    async with running_relay(tmp_path, RELAY_HOOK_TOKENS="") as running:
        old = token_of(await run(tmp_path))
        assert await answer(running, old) == 202
        changed = await run(tmp_path, "--new")
        new = token_of(changed)
        assert new != old
        assert "Give Smartsupp this URL. 1 previous token is accepted too" in changed.err
        while await answer(running, new) not in {200, 202}:  # too many unknown tokens: 429
            pass
        assert [await answer(running, token) for token in (old, new)] == [200, 200]
        assert token_of(await run(tmp_path, "--end-previous")) == new
        while await answer(running, old) != 404:
            pass
        assert await answer(running, new) == 200
    async with running_relay(tmp_path, RELAY_HOOK_TOKENS="") as running:
        assert [await answer(running, token) for token in (old, new)] == [404, 200]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can replace another user's file")
async def test_a_file_that_root_changes_can_still_be_read_by_the_relay(tmp_path: Path) -> None:
    file, link = tmp_path / "tokens", tmp_path / "link"
    file.write_text(TOKEN)
    file.chmod(0o644)
    os.chown(file, 10001, 10002)
    link.symlink_to(file)
    new = token_of(await run(tmp_path, "--new", RELAY_HOOK_TOKENS_FILE=str(link)))
    assert file.read_text().split() == [new, TOKEN]
    assert link.is_symlink()
    now = file.stat()
    assert (now.st_uid, now.st_gid, now.st_mode & 0o777) == (10001, 10002, 0o640)


async def test_a_token_file_that_goes_away_shuts_nobody_out(tmp_path: Path) -> None:
    async with running_relay(tmp_path, RELAY_HOOK_TOKENS="") as running:
        old = token_of(await run(tmp_path))
        (tmp_path / "relay.db.token").write_text("no token\n")
        while not (await running.ready())["rules"]["problems_of_the_saved_file"]:
            pass
        assert await answer(running, old) == 202


@pytest.mark.parametrize("new", [False, True])
async def test_the_tokens_of_a_file_are_changed_where_they_are(tmp_path: Path, new: bool) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n{OTHER}\n")
    option = "--new" if new else "--end-previous"
    newest = token_of(
        await run(tmp_path, option, RELAY_HOOK_TOKENS_FILE=str(file), RELAY_PUBLIC_URL=PUBLIC)
    )
    assert file.read_text().split() == ([newest, TOKEN, OTHER] if new else [TOKEN])
    assert file.stat().st_mode & 0o777 == 0o600


async def test_the_tokens_of_the_environment_are_changed_by_who_set_them(tmp_path: Path) -> None:
    shown = await run(tmp_path, RELAY_HOOK_TOKENS=TOKEN)
    assert (token_of(shown), shown.err) == (TOKEN, "")
    told = await run(tmp_path, "--new", RELAY_HOOK_TOKENS=f"{TOKEN},{OTHER}")
    assert (told.status, told.out) == (2, "")
    words, value = told.err.splitlines()
    assert words.endswith("Set RELAY_HOOK_TOKENS to this and restart the relay:")
    assert value.split(",")[1:] == [TOKEN, OTHER]


async def test_before_the_first_start_there_is_no_token(tmp_path: Path) -> None:
    ran = await run(tmp_path)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == "there is no token yet: `relay serve` makes one at its first start\n"

"""Who comes in by a command, a link, a token or a proxy, each with a relay of its own."""

import asyncio
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from relay.runtime.startup import NotReady
from tests.console.visiting import NEW, PASSWORD, Visitor, acts, invited, link_in, signed_in, took
from tests.rules.commands import relay as command
from tests.running import MovableClock, running_relay, settings


async def run(variables: dict[str, str], *words: str, given: bytes = b"") -> Result:
    """A command, beside the relay of this process."""
    return await asyncio.to_thread(partial(command, *words, given=given, **variables))


async def test_a_link_ends_after_a_day(tmp_path: Path) -> None:
    clock = MovableClock()
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD, clock=clock) as relay:
        link = link_in((await (await signed_in(relay)).submit("/people", name="late")).text)
        clock.forward(hours=23, minutes=59)
        assert (await Visitor(relay).get(link)).status == 200
        clock.forward(minutes=2)
        assert (await Visitor(relay).get(link)).status == 404
        assert (await Visitor(relay).post(link, password=NEW)).status == 404


async def test_a_token_ends(tmp_path: Path) -> None:
    clock = MovableClock()
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD, clock=clock) as relay:
        admin = await signed_in(relay)
        page = (await admin.submit("/tokens", name="short", role="viewer", days="30")).text
        (token,) = re.findall(r"relay_\w{49}", page)
        program = Visitor(relay, headers={"authorization": f"Bearer {token}"})
        clock.forward(days=29)
        assert (await program.get("/api/v1/me")).status == 200
        clock.forward(days=2)
        assert (await program.get("/api/v1/me")).status == 401


# -- commands ------------------------------------------------------------------------------------------------------


async def test_users_are_added_by_commands_and_turn_the_console_on(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        assert (await Visitor(relay).get("/login")).status == 404
    variables = settings(tmp_path, RELAY_PUBLIC_URL="http://127.0.0.1:1")
    added = await run(variables, "user", "add", "Anna@Example.com", "--role", "admin")
    assert (added.exit_code, added.stderr) == (0, "")
    link = link_in(added.stdout)
    again = await run(variables, "user", "add", "anna@example.com")
    assert (again.exit_code, "already" in again.stderr) == (2, True)
    short = await run(variables, "user", "add", "x", "--password-stdin", given=b"short\n")
    assert (short.exit_code, "at least 12 characters" in short.stderr) == (2, True)
    given = f"{NEW}\n".encode()
    typed = await run(variables, "user", "add", "b", "--password-stdin", given=given)
    assert (typed.exit_code, "/login/" in typed.stdout) == (0, False)
    async with running_relay(tmp_path) as relay:
        anna = Visitor(relay)
        assert took(anna, await anna.post(link, password=NEW)).status == 303
        assert (await anna.get("/people")).status == 200
        assert (await Visitor(relay).sign_in("b", NEW)).status == 303
        assert (await run(variables, "user", "role", "b", "editor")).exit_code == 0
        only = await run(variables, "user", "role", "anna@example.com", "viewer")
        assert (only.exit_code, "only admin" in only.stderr) == (2, True)
        passwd = await run(variables, "user", "passwd", "anna@example.com")
        assert (await Visitor(relay).get(link_in(passwd.stdout))).status == 200
        listed = await run(variables, "user", "list", "--json")
        assert '"role": "editor"' in listed.stdout
        assert "anna@example.com  admin" in (await run(variables, "user", "list")).stdout
        assert (await run(variables, "user", "remove", "b")).exit_code == 0
        unknown = await run(variables, "user", "remove", "ana@example.com")
        assert (unknown.exit_code, "anna@example.com" in unknown.stderr) == (2, True)
        assert {row[1] for row in acts(relay)} == {"command", "console"}
        assert "argon2" not in listed.stdout


async def test_without_its_setting_the_user_admin_does_not_come_in(tmp_path: Path) -> None:
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        admin = await signed_in(relay)
        await invited(admin, "other", "admin")
    variables = settings(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD)
    for words in (("passwd", "admin"), ("remove", "admin")):
        refused = await run(variables, "user", *words)
        assert (refused.exit_code, "RELAY_CONSOLE_PASSWORD" in refused.stderr) == (2, True)
    async with running_relay(tmp_path) as relay:
        assert (await Visitor(relay, admin.cookie).get("/me")).status == 303
        assert (await Visitor(relay).sign_in()).status == 422
        assert (await Visitor(relay).sign_in("other", NEW)).status == 303
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        assert (await Visitor(relay).sign_in()).status == 303


# -- a proxy that signs in -------------------------------------------------------------------------------------------

PROXY: dict[str, Any] = {
    "RELAY_CONSOLE_PASSWORD": PASSWORD,
    "RELAY_CONSOLE_TRUSTED_HEADER": "X-Forwarded-Email",
}


async def test_a_proxy_signs_in_whom_it_knows(tmp_path: Path) -> None:
    async with running_relay(tmp_path, **PROXY) as relay:
        await (await signed_in(relay)).submit("/people", name="anna@example.com", role="editor")
        anna = Visitor(relay, headers={"x-forwarded-email": "Anna@example.com"})
        got = took(anna, await anna.get("/me"))
        assert (got.status, "anna@example.com" in got.text) == (200, True)
        again = await anna.get("/me")
        assert (again.status, "set-cookie" in again.headers) == (200, False)
        assert (await anna.get("/people")).status == 403
        left = await anna.submit("/logout")
        assert (left.status, "proxy" in left.text) == (200, True)
        stranger = Visitor(relay, headers={"x-forwarded-email": "<b>@example.com"})
        assert (await stranger.get("/")).place == "/login"
        for path in ("/me", "/login"):
            unknown = await stranger.get(path)
            assert (unknown.status, "&lt;b&gt;@example.com" in unknown.text) == (403, True)
        two = Visitor(relay, headers={"x-forwarded-email": "anna@example.com, admin"})
        assert (await two.get("/me")).status == 403


async def test_another_name_of_the_proxy_is_another_session(tmp_path: Path) -> None:
    async with running_relay(tmp_path, **PROXY) as relay:
        admin = await signed_in(relay)
        await admin.submit("/people", name="anna")
        cookie, token = admin.cookie, await admin.token()
        anna = Visitor(relay, cookie, {"x-forwarded-email": "anna"})
        refused = await anna.post("/people", token=token, name="evil")
        assert (refused.status, refused.place) == (303, "/login")
        got = took(anna, await anna.get("/me"))
        assert "anna" in got.text
        assert (await anna.get("/people")).status == 403
        assert (await Visitor(relay, cookie).get("/me")).status == 303


async def test_nobody_else_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = {"x-forwarded-email": "admin"}
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.7")
    async with running_relay(tmp_path, **PROXY) as relay:
        for forged in ({}, {"x-forwarded-for": "192.0.2.7"}, {"forwarded": "for=192.0.2.7"}):
            visitor = Visitor(relay, headers={**header, **forged})
            assert (await visitor.get("/me")).place == "/login?next=/me"
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD) as relay:
        assert (await Visitor(relay, headers=header).get("/me")).status == 303
    async with running_relay(tmp_path, **PROXY) as relay:
        # The proxy tells whose address it is; it is the proxy itself that is believed.
        named = Visitor(relay, headers={**header, "x-forwarded-for": "198.51.100.9"})
        assert (await named.get("/me")).status == 200
        assert relay.rows("SELECT address FROM sessions") == [("198.51.100.9",)]


@pytest.mark.parametrize("everybody", ["*", "0.0.0.0/0", "::/0"])
async def test_a_relay_that_believes_everybody_does_not_start(
    tmp_path: Path, everybody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", everybody)
    with pytest.raises(NotReady, match="FORWARDED_ALLOW_IPS"):
        async with running_relay(tmp_path, **PROXY):
            pass

"""Users, their roles and passwords, links that work once, tokens of programs, and what is written down of it."""

import csv
import io
import re
from collections import Counter

import pytest

from relay.console.sign_in_page import HOME
from tests.console.visiting import NEW, PASSWORD, Visitor, acts, invited, link_in, signed_in, took
from tests.corpora import MARKUP
from tests.running import RunningRelay

OWN = {"x-relay": "1", "sec-fetch-site": "same-origin"}
in_one_loop = pytest.mark.asyncio(loop_scope="module")


def number_of(relay: RunningRelay, name: str) -> int:
    return next(int(row[0]) for row in relay.rows("SELECT id, name FROM users") if row[1] == name)


@in_one_loop
async def test_a_link_sets_a_password_once_and_only_by_its_form(relay: RunningRelay) -> None:
    admin = await signed_in(relay)
    link = link_in((await admin.submit("/people", name="Link@Example.com")).text)
    stranger = Visitor(relay)
    before = relay.rows("SELECT * FROM tokens")
    for _ in range(2):  # programs that look at mails follow links
        assert "link@example.com" in (await stranger.get(link)).text
    assert relay.rows("SELECT * FROM tokens") == before
    assert (await stranger.post(link, password="too short")).status == 422
    assert took(stranger, await stranger.post(link, password=NEW)).place == HOME
    assert (await stranger.get("/me")).status == 200
    again = Visitor(relay)
    assert {(await again.get(link)).status, (await again.post(link, password=NEW)).status} == {404}
    assert (await again.get(f"/login/{'x' * 43}")).status == 404
    assert (await again.sign_in("LINK@example.com ", NEW)).status == 303


@in_one_loop
async def test_another_link_or_another_password_ends_a_link(relay: RunningRelay) -> None:
    admin = await signed_in(relay)
    first = link_in((await admin.submit("/people", name="twice")).text)
    number = number_of(relay, "twice")
    second = link_in((await admin.submit(f"/people/{number}/link")).text)
    assert (await Visitor(relay).get(first)).status == 404
    third = link_in((await admin.submit(f"/people/{number}/link")).text)
    assert (await Visitor(relay).post(third, password=NEW)).status == 303
    assert (await Visitor(relay).get(second)).status == 404


@in_one_loop
async def test_another_role_holds_at_once_and_ends_sessions(relay: RunningRelay) -> None:
    admin = await signed_in(relay)
    other = await invited(admin, "promoted")
    assert (await other.get("/people")).status == 403
    number = number_of(relay, "promoted")
    assert (await admin.submit(f"/people/{number}/role", role="admin")).status == 303
    assert (await other.get("/people")).place == "/login?next=/people"
    await other.sign_in("promoted", NEW)
    assert (await other.get("/people")).status == 200
    assert (await admin.submit(f"/people/{number}/end-sessions")).status == 303
    assert (await other.get("/me")).status == 303
    await other.sign_in("promoted", NEW)
    assert (await admin.submit(f"/people/{number}/remove")).status == 303
    assert (await other.get("/me")).status == 303
    assert (await other.sign_in("promoted", NEW)).status == 422
    assert (await admin.submit(f"/people/{number}/remove")).status == 404
    assert (await admin.submit(f"/people/{number}/nothing")).status == 404


@in_one_loop
async def test_somebody_stays_admin(relay: RunningRelay) -> None:
    admin = await signed_in(relay)
    relay.change("DELETE FROM tokens")
    relay.change("DELETE FROM users WHERE name != ?", "admin")
    number = number_of(relay, "admin")
    for got in (
        await admin.submit(f"/people/{number}/role", role="viewer"),
        await admin.submit(f"/people/{number}/remove"),
        await admin.submit(f"/people/{number}/link"),
    ):
        assert got.status == 422
    assert relay.rows("SELECT role FROM users WHERE name = 'admin'") == [("admin",)]
    other = await invited(admin, "second", "admin")
    assert (await other.submit(f"/people/{number}/role", role="viewer")).status == 303
    second = number_of(relay, "second")
    assert (await other.submit(f"/people/{second}/remove")).status == 422


@in_one_loop
async def test_an_own_password_needs_the_previous_one_and_ends_other_sessions(
    relay: RunningRelay,
) -> None:
    one = await invited(await signed_in(relay), "own")
    other = Visitor(relay)
    await other.sign_in("own", NEW)
    planted = one.cookie
    assert (await one.submit("/me/password", old="wrong", new=NEW)).status == 422
    assert (await one.submit("/me/password", old=NEW, new="short")).status == 422
    assert (await other.get("/me")).status == 200
    got = took(one, await one.submit("/me/password", old=NEW, new="a third good password"))
    assert (got.status, got.place) == (303, "/me?changed=1")
    assert (await one.get("/me?changed=1")).status == 200
    assert (await other.get("/me")).status == 303
    assert (await Visitor(relay, planted).get("/me")).status == 303
    assert (await Visitor(relay).sign_in("own", NEW)).status == 422
    admin = await signed_in(relay)
    assert (await admin.submit("/me/password", old=PASSWORD, new=NEW)).status == 422


@in_one_loop
async def test_one_ends_ones_own_sessions_and_no_others(relay: RunningRelay) -> None:
    admin = await signed_in(relay)
    mine, theirs = await invited(admin, "mine"), await invited(admin, "theirs")
    again = Visitor(relay)
    await again.sign_in("mine", NEW)
    of = {name: number_of(relay, name) for name in ("mine", "theirs")}
    rows = relay.rows("SELECT id, user_id FROM sessions ORDER BY id")
    first, last = (number for number, user in rows if user == of["mine"])
    (other,) = (number for number, user in rows if user == of["theirs"])
    assert (await mine.submit(f"/me/sessions/{other}/end")).status == 404
    assert (await theirs.get("/me")).status == 200
    assert (await mine.submit(f"/me/sessions/{last}/end")).place == "/me"
    assert (await again.get("/me")).status == 303
    await mine.submit(f"/me/sessions/{first}/end")
    assert (await mine.get("/me")).status == 303


@in_one_loop
async def test_a_token_is_shown_once_and_reads_as_its_role(relay: RunningRelay) -> None:
    admin = await signed_in(relay)
    page = (await admin.submit("/tokens", name="reports", role="editor", days="30")).text
    (token,) = re.findall(r"relay_\w{49}", page)
    assert token not in (await admin.get("/tokens")).text
    assert token.encode() not in relay.rows("SELECT hash FROM tokens")[-1][0]
    program = Visitor(relay, headers={"authorization": f"Bearer {token}"})
    got = await program.get("/api/v1/me")
    assert (got.status, got.text) == (200, '{"kind":"token","name":"reports","role":"editor"}')
    assert (await program.get("/people")).place == "/login?next=/people"
    assert (await program.post("/api/v1/me")).status == 405
    wrong = await Visitor(relay, headers={"authorization": "Bearer relay_x"}).get("/api/v1/me")
    assert (wrong.status, wrong.headers["content-type"]) == (401, "application/problem+json")
    for typed in (token[:-1], token[:-7], token[:9] + token[10:], token[:-1] + "_", token + "a"):
        program.headers["authorization"] = f"Bearer {typed}"
        assert "mistyped" in (await program.get("/api/v1/me")).text
    program.headers["authorization"] = f"Bearer {token}"
    # With a token, a cookie is not asked.
    mixed = Visitor(relay, admin.cookie, {"authorization": "Bearer relay_x"})
    assert (await mixed.get("/api/v1/me")).status == 401
    number = relay.rows("SELECT max(id) FROM tokens")[0][0]
    assert (await admin.submit(f"/tokens/{number}/end")).status == 303
    assert (await program.get("/api/v1/me")).status == 401
    assert (await admin.submit(f"/tokens/{number}/end")).status == 404
    assert (await admin.submit("/tokens", name=" ", role="editor")).status == 422


@in_one_loop
async def test_a_token_may_no_more_than_its_maker_and_goes_with_them(relay: RunningRelay) -> None:
    admin = await signed_in(relay)
    maker = await invited(admin, "maker", "admin")
    page = (await maker.submit("/tokens", name="all", role="admin", days="0")).text
    program = Visitor(
        relay, headers={"authorization": "Bearer " + re.findall(r"relay_\w+", page)[-1]}
    )
    number = number_of(relay, "maker")
    assert '"role":"admin"' in (await program.get("/api/v1/me")).text
    await admin.submit(f"/people/{number}/role", role="viewer")
    assert '"role":"viewer"' in (await program.get("/api/v1/me")).text
    await admin.submit(f"/people/{number}/remove")
    assert (await program.get("/api/v1/me")).status == 401


@in_one_loop
async def test_the_api_answers_errors_as_problems(relay: RunningRelay) -> None:
    admin = await signed_in(relay)
    assert (await admin.get("/api/v1/me")).text == '{"kind":"user","name":"admin","role":"admin"}'
    for got, status in (
        (await Visitor(relay).get("/api/v1/me"), 401),
        (await admin.get("/api/v1/nothing"), 404),
        (await admin.get("/api/v1/me", host="evil.example"), 421),
        (await admin.ask("DELETE", "/api/v1/me", OWN), 405),
    ):
        assert (got.status, got.headers["content-type"]) == (status, "application/problem+json")
        assert f'"status":{status}' in got.text


@in_one_loop
async def test_each_act_is_written_down_and_listed_page_by_page(relay: RunningRelay) -> None:
    admin = await signed_in(relay)
    relay.change("DELETE FROM acts")
    await admin.submit("/people", name="=2+5", role="editor")
    number = number_of(relay, "=2+5")
    await admin.submit(f"/people/{number}/role", role="viewer")
    await admin.submit(f"/people/{number}/end-sessions")
    await admin.submit(f"/people/{number}/remove")
    assert acts(relay) == [
        ("admin", "console", "add user", "=2+5", "editor"),
        ("admin", "console", "make link", "=2+5", ""),
        ("admin", "console", "change role", "=2+5", "viewer"),
        ("admin", "console", "end sessions", "=2+5", ""),
        ("admin", "console", "remove user", "=2+5", ""),
    ]
    table = (await admin.get("/acts.csv")).text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    assert [row["subject"] for row in csv.DictReader(io.StringIO(table))] == ["'=2+5"] * 5
    for _ in range(52):
        await admin.submit(f"/people/{number_of(relay, 'admin')}/role", role="admin")
        relay.change(
            "INSERT INTO acts (at, by, via, address, act, subject, detail) SELECT at, by, via, address, act, subject, detail FROM acts LIMIT 1"
        )
    first = (await admin.get("/acts")).text
    assert first.count('class="entry act"') == 50
    (older,) = re.findall(r'href="(/acts\?before=\d+)"', first)
    assert (await admin.get(older)).text.count('class="entry act"') == 7
    assert (await admin.get("/acts?before=x")).status == 200
    relay.change("UPDATE acts SET act = 'make link', subject = by")
    assert (
        "<bdi>admin</bdi></b> made a link for <bdi>admin</bdi>" in (await admin.get("/acts")).text
    )


@in_one_loop
async def test_hostile_names_stay_text(relay: RunningRelay) -> None:
    """A page has as many elements of each kind as with harmless names."""
    admin = await signed_in(relay)
    token = await admin.token()
    texts = [text.replace(" ", "/") for text in MARKUP["html"] if "<" in text]
    hostile = [text.lower() for text in texts if text.isprintable() and len(text) <= 100][:16]
    assert len(set(hostile)) == 16

    async def pages(names: list[str]) -> list[str]:
        relay.change("DELETE FROM tokens")
        relay.change("DELETE FROM acts")
        relay.change("DELETE FROM users WHERE name != ?", "admin")
        for name in names:
            assert (await admin.post("/people", token=token, name=name)).status == 200
            assert (await admin.post("/tokens", token=token, name=name)).status == 200
        return [(await admin.get(path)).text for path in ("/people", "/tokens", "/acts")]

    def kinds(page: str) -> Counter[str]:
        return Counter(re.findall(r"<[^\s>]+", page))

    harmless = await pages([f"harmless-{number}" for number in range(16)])
    found = await pages(hostile)
    assert list(map(kinds, found)) == list(map(kinds, harmless))


@in_one_loop
async def test_no_answer_and_no_log_holds_a_secret(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    admin = await signed_in(relay)
    link = link_in((await admin.submit("/people", name="canary")).text)
    token = re.findall(r"relay_\w{49}", (await admin.submit("/tokens", name="canary")).text)[0]
    other = Visitor(relay)
    took(other, await other.post(link, password="canary-password-1"))
    await other.submit("/me/password", old="canary-password-1", new="canary-password-2")
    secrets = [admin.cookie, other.cookie, link[-43:], token, PASSWORD]
    secrets += ["canary-password-1", "canary-password-2", "$argon2"]
    for path in ("/people", "/tokens", "/acts", "/acts.csv", "/me", "/health", "/api/v1/me"):
        text = (await admin.get(path)).text
        assert not [secret for secret in secrets if secret in text]
    assert not [secret for secret in secrets if secret in caplog.text]

"""What programs do by the JSON API: each act once, written down, and only by who may."""

import asyncio
import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from relay.clock import utc_now
from relay.web.request_body import MAX_BODY
from tests.builders import a_hook
from tests.console.test_api_rules import ended
from tests.console.test_chats import post
from tests.console.visiting import (
    NEW,
    PASSWORD,
    Program,
    Visitor,
    a_program,
    acts,
    link_in,
    signed_in,
    took,
)
from tests.running import DEADLINE, MovableClock, RunningRelay, running_relay
from tests.servers import SmtpServer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def program(relay: RunningRelay) -> Program:
    return await a_program(relay)


async def a_delivery(relay: RunningRelay, program: Program) -> int:
    """One that waits, since its destination is paused: nothing is at it while a test looks."""
    await program.post("/destinations/room/pause", {"because": "a test"})
    async with asyncio.timeout(DEADLINE):
        while (await program.get("/destinations/room")).json["state"] != "paused":
            pass
    number = await post(relay, missed=True)
    found = (await program.get(f"/chats/{number}")).json["deliveries"]
    ours = (each["delivery"] for each in found if each["delivery"]["destination"] == "room")
    return int(next(ours)["id"])


def in_hours(hours: float) -> str:
    return (utc_now() + timedelta(hours=hours)).isoformat()


def done(relay: RunningRelay, act: str) -> int:
    return sum(each[2] == act for each in acts(relay))


async def test_a_delivery_is_sent_again_and_the_token_is_named(
    relay: RunningRelay, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    number = await a_delivery(relay, program)
    got = await program.post(f"/deliveries/{number}/resend")
    assert (got.status, got.json["id"]) == (202, number)
    assert acts(relay)[-1] == ("admin (token robot)", "api", "send again", str(number), "room")
    assert "admin (token robot) resends delivery" in caplog.text
    missing = await program.post("/deliveries/999999/resend")
    assert (missing.status, missing.headers["content-type"]) == (404, "application/problem+json")
    assert missing.detail == "There is no delivery 999999; it may have been erased."


async def test_with_a_key_a_request_acts_once_and_is_told_the_same(
    relay: RunningRelay, program: Program
) -> None:
    number, before = await a_delivery(relay, program), done(relay, "send again")
    asked = [
        await program.post(f"/deliveries/{number}/resend", idempotency_key="one") for _ in range(3)
    ]
    assert [(each.status, each.json) for each in asked] == [(202, asked[0].json)] * 3
    told_again = [each.headers.get("idempotency-replayed") for each in asked]
    assert told_again == [None, "true", "true"]
    assert done(relay, "send again") == before + 1
    other = await program.post(f"/deliveries/{number + 1}/resend", idempotency_key="one")
    assert (other.status, other.json["type"].rpartition(":")[2]) == (422, "key-of-another-request")
    someone = await a_program(relay, name="other")
    await someone.post(f"/deliveries/{number}/resend", idempotency_key="one")
    assert done(relay, "send again") == before + 2


async def test_requests_with_one_key_at_the_same_time_act_once(
    relay: RunningRelay, program: Program
) -> None:
    number, before = await a_delivery(relay, program), done(relay, "send again")
    asked = [
        program.post(f"/deliveries/{number}/resend", idempotency_key="at once") for _ in range(6)
    ]
    found = await asyncio.gather(*asked)
    assert {each.status for each in found} <= {202, 409, 503}
    assert 202 in {each.status for each in found}
    assert done(relay, "send again") == before + 1


async def test_a_refused_request_may_be_sent_again_with_its_key(
    relay: RunningRelay, program: Program
) -> None:
    body = {"rule": "Nobody", "until": in_hours(1), "because": "x"}
    for _ in range(2):
        got = await program.post("/mutes", body, idempotency_key="refused")
        assert (got.status, list(got.json["fields"])) == (422, ["rule"])
    body["rule"] = "Missed chats"
    made = await program.post("/mutes", body, idempotency_key="refused")
    assert made.status == 201
    await program.delete(f"/mutes/{made.json['id']}")


@pytest.mark.parametrize("key", ["", "a" * 201, "\u00e9"])
async def test_a_key_is_short_and_plain(relay: RunningRelay, program: Program, key: str) -> None:
    got = await program.post("/deliveries/1/resend", idempotency_key=key)
    assert (got.status, list(got.json["fields"])) == (422, ["Idempotency-Key"])


async def test_what_was_done_and_not_answered_is_not_done_again(
    relay: RunningRelay, program: Program
) -> None:
    """As after a relay that was killed between the act and keeping its answer."""
    number, before = await a_delivery(relay, program), done(relay, "send again")
    await program.post(f"/deliveries/{number}/resend", idempotency_key="killed")
    relay.change("UPDATE idempotency_keys SET status = NULL WHERE key = ?", "killed")
    got = await program.post(f"/deliveries/{number}/resend", idempotency_key="killed")
    assert (got.status, got.json["type"].rpartition(":")[2]) == (409, "answer-not-known")
    assert done(relay, "send again") == before + 1


async def test_a_chat_is_replayed(relay: RunningRelay, program: Program) -> None:
    number = await post(relay, missed=True)
    first = await program.get(f"/chats/{number}/replay")
    assert (first.status, [each["queued"] for each in first.json["hooks"]]) == (200, [[]])
    got = await program.post(f"/chats/{number}/replay")
    assert (got.status, [each["queued"] for each in got.json["hooks"]]) == (202, [[]])
    assert acts(relay)[-1][:4] == ("admin (token robot)", "api", "replay", str(number))


async def test_a_destination_is_paused_and_resumed(relay: RunningRelay, program: Program) -> None:
    made = await program.post(
        "/destinations/room/pause", {"because": "moving", "until": in_hours(2)}
    )
    assert (made.status, made.json["by"]) == (200, "admin (token robot)")
    await relay.until("SELECT paused_by FROM gates WHERE destination = 'room'", (made.json["by"],))
    over = await program.post("/destinations/room/resume")
    assert over.json == {"name": "room", "was_paused": True, "is_tried": False}
    for body, field in (
        ({"because": "x", "until": in_hours(-1)}, "until"),
        ({"because": "x", "until": "9999-12-31T23:59:59-14:00"}, "until"),
        ({"because": " "}, "because"),
        ({"because": "x", "until": "soon"}, "until"),
        ({"because": "x", "till": in_hours(1)}, None),
        ({}, None),
    ):
        wrong = await program.post("/destinations/room/pause", body)
        assert wrong.status == 422
        assert field is None or list(wrong.json["fields"]) == [field]
    assert (await program.post("/destinations/nobody/pause", {"because": "x"})).status == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rule": "", "destination": ""}, None),
        ({"destination": "nobody"}, "destination"),
        ({"until": "2020-01-01T00:00:00Z"}, "until"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "until"),
        ({"when": "{missd: true}"}, "when"),
        ({"when": "["}, "when"),
        ({"alerts_too": True}, "alerts_too"),
        ({"then": "later"}, "then"),
        ({"because": "\0"}, "because"),
        ({"urgent_too": "yes"}, "urgent_too"),
    ],
)
async def test_a_mute_that_does_not_fit_is_refused(
    relay: RunningRelay, program: Program, change: dict[str, Any], field: str | None
) -> None:
    body = {"rule": "Missed chats", "until": in_hours(1), "because": "lunch", **change}
    got = await program.post("/mutes", body)
    assert got.status == 422
    assert field is None or list(got.json["fields"]) == [field]


async def test_a_mute_is_made_and_ended(relay: RunningRelay, program: Program) -> None:
    body = {"when": "{missed: true}", "until": in_hours(1), "because": "lunch", "then": "nothing"}
    made = await program.post("/mutes", body)
    assert made.status == 201
    (mute,) = (await program.get("/mutes")).json["mutes"]
    assert (mute["id"], mute["origin"], mute["when"]) == (made.json["id"], "api", "{missed: true}")
    assert (await program.delete(f"/mutes/{mute['id']}")).json == {"id": mute["id"]}
    again = await program.delete(f"/mutes/{mute['id']}")
    assert (again.status, again.detail) == (409, f"Mute {mute['id']} is over already.")
    assert (await program.delete("/mutes/999999")).status == 404


async def test_a_digest_for_which_nothing_waits_is_not_sent(
    relay: RunningRelay, program: Program
) -> None:
    body = {"destination": "desk", "recipient": "desk@example.com", "due_at": in_hours(1)}
    assert (await program.post("/digests/send", body)).json == {"is_queued": False}


async def test_users_and_tokens_are_made_changed_and_ended(
    relay: RunningRelay, program: Program
) -> None:
    made = await program.post("/users", {"name": "Petra", "role": "viewer"})
    assert (made.status, made.json["name"]) == (201, "petra")
    petra = Visitor(relay)
    assert took(petra, await petra.post(link_in(made.json["link"]), password=NEW)).status == 303
    number = made.json["id"]
    assert (await program.post(f"/users/{number}/role", {"role": "editor"})).json[
        "role"
    ] == "editor"
    assert (await petra.get("/me")).status == 303
    assert (await program.post(f"/users/{number}/end-sessions")).status == 200
    assert "/login/" in (await program.post(f"/users/{number}/link")).json["link"]
    taken = await program.post("/users", {"name": "petra", "role": "viewer"})
    assert (taken.status, taken.json["type"].rpartition(":")[2]) == (409, "name-is-taken")
    wrong = await program.post("/users", {"name": "a b", "role": "viewer"})
    assert (wrong.status, list(wrong.json["fields"])) == (422, ["name"])
    token = await program.post("/tokens", {"name": "short", "role": "viewer", "days": 1})
    other = Program(relay, token.json["token"])
    assert (await other.get("/me")).json == {"kind": "token", "name": "short", "role": "viewer"}
    assert (await other.get("/users")).status == 403
    ending = {"name": "ending", "role": "admin", "days": 20}
    lent = Program(relay, (await program.post("/tokens", ending)).json["token"])
    for days in ({}, {"days": None}, {"days": 21}, {"days": 3650}):
        got = await lent.post("/tokens", {"name": "longer", "role": "viewer", **days})
        assert (got.status, list(got.json["fields"])) == (422, ["days"])
        assert "no more than are left of the token" in got.detail
    made = await lent.post("/tokens", {"name": "shorter", "role": "admin", "days": 19})
    assert made.status == 201
    assert (await lent.post("/users", {"name": "stays", "role": "editor"})).status == 201
    names = [each["name"] for each in (await program.get("/tokens")).json["tokens"]]
    assert names[:2] == ["shorter", "ending"]
    for each in (await program.get("/tokens")).json["tokens"][:2]:
        await program.delete(f"/tokens/{each['id']}")
    assert (await lent.get("/users")).status == 401
    assert "stays" in {each["name"] for each in (await program.get("/users")).json["users"]}
    assert acts(relay)[-4:-2] == [
        ("admin (token ending)", "api", "add user", "stays", "editor"),
        ("admin (token ending)", "api", "make link", "stays", ""),
    ]
    (newest, *_) = (await program.get("/tokens")).json["tokens"]
    assert (await program.delete(f"/tokens/{newest['id']}")).json["name"] == "short"
    assert (await other.get("/me")).status == 401
    assert (await program.delete(f"/users/{number}")).json["name"] == "petra"
    assert (await program.delete(f"/users/{number}")).status == 404
    admin = next(
        each for each in (await program.get("/users")).json["users"] if each["name"] == "admin"
    )
    for got in (
        await program.delete(f"/users/{admin['id']}"),
        await program.post(f"/users/{admin['id']}/link"),
    ):
        assert (got.status, "RELAY_CONSOLE_PASSWORD" in got.detail) == (409, True)
    assert ("admin (token robot)", "api", "add user", "petra", "viewer") in acts(relay)


async def test_a_session_acts_only_with_the_header_of_the_consoles_own_pages(
    relay: RunningRelay,
) -> None:
    admin = await signed_in(relay)
    number = await post(relay, missed=True)
    path, here = f"/api/v1/chats/{number}/replay", {"sec-fetch-site": "same-origin"}
    for headers, status in (
        ({}, 403),
        (here, 403),
        ({"x-relay": "1", "sec-fetch-site": "cross-site"}, 403),
        ({"x-relay": "1", "origin": "https://evil.example"}, 403),
        ({"x-relay": "1", **here}, 202),
    ):
        assert (await admin.ask("POST", path, headers)).status == status
    assert acts(relay)[-1][:2] == ("admin", "api")
    assert (await Visitor(relay).ask("POST", path, here | {"x-relay": "1"})).status == 401


async def test_a_chat_and_its_visitor_are_exported_and_erased(
    relay: RunningRelay, program: Program
) -> None:
    who = {"name": "Half \ud800", "email": "Canary@example.com"}
    first, second, third = [await post(relay, rating=5, visitor=who) for _ in range(3)]
    one = (await program.post(f"/chats/{first}/export", {})).json
    all_of_them = (await program.post(f"/chats/{first}/export", {"of": "visitor"})).json
    assert [len(each["chats"]) for each in (one, all_of_them)] == [1, 3]
    (chat,) = one["chats"]
    assert chat["hooks"][0]["hook"]["visitor"]["email"] == "Canary@example.com"
    name = f"{chat['account']}/{chat['chat']}"
    by, via = "admin (token robot)", "api"
    assert acts(relay)[-2:] == [(by, via, "export", name, each) for each in ("", "visitor")]
    for body in ({}, {"confirm": ""}, {"confirm": "yes"}, {"confirm": name, "of": "all"}):
        got = await program.post(f"/chats/{first}/erase", body)
        assert got.status == 422, body
    asked = {"confirm": name}
    done = [
        await program.post(f"/chats/{first}/erase", asked, idempotency_key="erase")
        for _ in range(2)
    ]
    assert [(each.status, each.json["chats"], each.json["hooks"]) for each in done] == [
        (200, 1, 1)
    ] * 2
    assert (await program.get(f"/chats/{first}")).status == 404
    asked = {"confirm": " canary@EXAMPLE.com ", "of": "visitor"}
    assert (await program.post(f"/chats/{second}/erase", asked)).json["chats"] == 2
    assert (await program.get(f"/chats/{third}")).status == 404
    assert [each[2:] for each in acts(relay)[-2:]] == [
        ("erase", name, ""),
        ("erase", acts(relay)[-1][3], "visitor"),
    ]


@pytest.mark.asyncio(loop_scope="function")
async def test_a_session_of_a_browser_erases_only_short_after_signing_in(tmp_path: Path) -> None:
    clock = MovableClock()
    async with running_relay(tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD, clock=clock) as relay:
        number, admin = await post(relay, rating=5), await signed_in(relay)
        program = await a_program(relay)
        name = (await program.get(f"/chats/{number}")).json["about"]
        body = msgspec.json.encode({"confirm": f"{name['account']}/{name['chat']}"})
        here = {"sec-fetch-site": "same-origin", "content-type": "application/json"}
        headers = {"x-relay": "1", **here}
        clock.forward(minutes=11)
        path = f"/api/v1/chats/{number}/erase"
        got = await admin.ask("POST", path, headers, data=body)
        assert (got.status, "sign-in-again" in got.text) == (403, True)
        fresh = await signed_in(relay)
        assert (await fresh.ask("POST", path, headers, data=body)).status == 200


async def test_a_post_is_taken_in_once_it_can_be_read(
    relay: RunningRelay, program: Program
) -> None:
    await relay.post(b"no hook")
    (found, *_) = (await program.get("/unreadable-posts")).json["posts"]
    path, before = f"/unreadable-posts/{found['id']}/take-in", done(relay, "take in")
    got = await program.post(path, None, idempotency_key="taken")
    assert (got.status, got.json["type"].rpartition(":")[2]) == (422, "still-unreadable")
    # As after an update of the relay that can read it.
    relay.change("UPDATE set_aside SET body = ?", zlib.compress(a_hook(7001, missed=True)))
    got, again = [await program.post(path, None, idempotency_key="taken") for _ in range(2)]
    assert (got.status, again.json) == (202, got.json)
    assert {each["destination"] for each in got.json["queued"]} == {"desk", "room"}
    assert (await program.get(f"/chats/{got.json['chat']}")).json["about"]["chat"] == "7001"
    assert done(relay, "take in") == before + 1
    assert (await program.post(path)).status == 404


async def test_what_was_said_is_searched_and_the_words_are_kept_nowhere(
    relay: RunningRelay, program: Program
) -> None:
    text = f"{'ahoj ' * 400}Příliš Žluťoučký\n kůň <b>úpěl {'dlouze ' * 400}"
    message = {"type": "visitor", "content": text, "sentAt": 1763800000000}
    number = await post(relay, missed=True, messages=[message])
    viewer = await a_program(relay, "viewer", "reader")
    begun = await viewer.post("/chats/words", {"words": " zlutoucky  KUN "})
    assert begun.status == 202
    job = await ended(viewer, begun.json)
    assert [each["number"] for each in job["words"]["chats"]] == [number]
    assert (job["state"], job["words"]["is_cut"]) == ("done", False)
    (found,) = [each["found"] for each in job["words"]["chats"]]
    assert found["before"].startswith("…ahoj ")
    assert found["before"].endswith(" Příliš ")
    assert (found["words"], found["after"][:8]) == ("Žluťoučký kůň", " <b>úpěl")
    assert max(map(len, found.values())) <= 100
    for words in ("", "  ", "a" * 301):
        assert (await viewer.post("/chats/words", {"words": words})).status == 422


async def test_a_secret_is_told_once_and_what_it_opens_is_made_once(
    relay: RunningRelay, program: Program
) -> None:
    for path, body in (
        ("/tokens", {"name": "once", "role": "viewer", "days": 7}),
        ("/users", {"name": "once@example.com", "role": "viewer"}),
    ):
        got, again = [await program.post(path, body, idempotency_key=path) for _ in range(2)]
        secret = got.json.get("token") or got.json["link"]
        assert (got.status, len(secret) > 40) == (201, True)
        assert (again.status, again.json["type"].rpartition(":")[2]) == (409, "answer-not-known")
        assert sum(one["name"] == body["name"] for one in await listed(program, path)) == 1
    assert not relay.rows(
        "SELECT body FROM idempotency_keys WHERE length(body) > 0 AND key LIKE '/%'"
    )
    (user,) = (one for one in await listed(program, "/users") if "once" in one["name"])
    body = {"role": "editor"}
    path = f"/users/{user['id']}/role"
    asked = [await program.post(path, body, idempotency_key="role") for _ in range(2)]
    assert [(one.status, one.json["role"]) for one in asked] == [(200, "editor")] * 2


async def listed(program: Program, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await program.get(path)).json[path[1:]]
    return found


async def test_the_address_for_smartsupp_is_told_to_admins(
    relay: RunningRelay, program: Program
) -> None:
    assert (await program.post("/hook-url")).json == {"url": relay.hook_url}
    assert acts(relay)[-1][:3] == ("admin (token robot)", "api", "show hook url")


async def test_a_notification_is_shown_as_it_would_be_sent(
    relay: RunningRelay, program: Program
) -> None:
    number = await a_delivery(relay, program)
    shown = await program.get(f"/deliveries/{number}/notification")
    assert (shown.status, shown.json["transport"], shown.json["html"]) == (200, "slack", "")
    assert shown.json["message"]["blocks"]
    assert (await program.get("/deliveries/999999/notification")).status == 404


async def test_a_mute_is_tried_before_it_is_made(relay: RunningRelay, program: Program) -> None:
    await post(relay, missed=True, visitor={"email": "tried@example.com"})
    asked = {"when": "{visitor.email: tried@example.com}"}
    job = await ended(program, (await program.post("/mutes/try", asked)).json)
    assert (job["state"], job["mute"]["chats"]) == ("done", 1)
    assert (await program.post("/mutes/try", {"when": "["})).status == 422


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"because": "x"}', {"content-type": "text/plain"}, 415),
        (b"because=x", {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b"", {}, 400),
        (b" ", {}, 400),
        (b"{", {}, 400),
        (b'{"because": "x", "because": "y"}', {}, 422),
        (b'{"because": "x", "a": {"b": 1, "b": 2}}', {}, 422),
        (b'{"because": "\xff"}', {}, 400),
        (b'{"because": "\\ud800"}', {}, 400),
        (b'{"because": "\xed\xa0\x80"}', {}, 400),
        (b'{"because": "\\u0000"}', {}, 422),
        (b'{"because": NaN}', {}, 400),
        (b'{"because": 1' + b"0" * 5000 + b"}", {}, 422),
        (b'{"because": 1e999}', {}, 422),
        (b"[" * 100_000, {}, 422),
        (b'{"because":' * 50_000, {}, 422),
        (b'{"because": "x", "until": ' + b"[" * 500 + b"]" * 500 + b"}", {}, 422),
        (b"[]", {}, 422),
        (b"null", {}, 422),
        (b"\xef\xbb\xbf{}", {}, 400),
        (b"{}", {"content-encoding": "gzip"}, 415),
        (b'{"because": "x"} {}', {}, 400),
    ],
    ids=range(22),
)
async def test_a_hostile_body_is_refused_in_words(
    relay: RunningRelay, program: Program, body: bytes, headers: dict[str, str], status: int
) -> None:
    before = done(relay, "pause")
    given = {"content-type": "application/json", **headers}
    got = await program.ask("POST", "/destinations/room/pause", given, body)
    assert (got.status, got.headers["content-type"]) == (status, "application/problem+json")
    assert got.json["status"] == status
    assert done(relay, "pause") == before


async def test_a_body_that_is_too_long_is_not_read(relay: RunningRelay, program: Program) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    head = [
        "POST /api/v1/mutes HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json",
        f"authorization: Bearer {program.token}\r\ncontent-length: {MAX_BODY + 1}\r\n\r\n",
    ]
    writer.write("\r\n".join(head).encode())
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()
    await writer.wait_closed()


@pytest.mark.asyncio(loop_scope="function")
async def test_a_test_is_sent_and_a_key_is_forgotten_after_a_day(tmp_path: Path) -> None:
    clock = MovableClock()
    async with (
        SmtpServer() as server,
        running_relay(
            tmp_path, smtp=server.port, RELAY_CONSOLE_PASSWORD=PASSWORD, clock=clock
        ) as relay,
    ):
        program = await a_program(relay)
        for _ in range(2):
            got = await program.post("/destinations/desk/test", {}, idempotency_key="t")
            assert (got.status, got.json["ending"]) == (200, "delivered")
        assert len(server.mails) == 1
        clock.forward(hours=23, minutes=59)
        await program.post("/destinations/desk/test", {}, idempotency_key="t")
        assert len(server.mails) == 1
        clock.forward(minutes=2)
        await program.post("/destinations/desk/test", {}, idempotency_key="t")
        assert len(server.mails) == 2
        wrong = await program.post("/destinations/desk/test", {"to": "evil@example.net"})
        assert (wrong.status, list(wrong.json["fields"])) == (422, ["to"])
        async with asyncio.timeout(DEADLINE):
            while (got := await program.post("/destinations/desk/test", {})).status == 200:
                pass
        assert got.status == 429

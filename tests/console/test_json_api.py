"""What programs read by the JSON API."""

from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from relay.clock import utc_now
from tests.console.test_chats import post
from tests.console.visiting import Program, Visitor, a_program, signed_in
from tests.running import RunningRelay

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def program(relay: RunningRelay) -> Program:
    return await a_program(relay)


async def all_of(program: Program, path: str, name: str) -> list[Any]:
    """What a list has, page by page."""
    found, following = [], path
    while following:
        got = await program.get(following)
        assert got.status == 200, got.json
        found += got.json[name]
        following = got.json["next"]
        linked = got.headers.get("link", "")
        assert linked == (f'<{following}>; rel="next"' if following else "")
    return found


async def test_chats_are_listed_page_by_page_and_each_once(
    relay: RunningRelay, program: Program
) -> None:
    new = [await post(relay, missed=True, visitor={"name": "Paging"}) for _ in range(5)]
    found = await all_of(program, "/chats?q=paging&limit=2", "chats")
    assert [chat["number"] for chat in found] == sorted(new, reverse=True)
    (chat,) = (await program.get("/chats?q=paging&limit=1")).json["chats"]
    assert chat["visitor"] == "Paging"
    assert chat["missed"] is True
    assert isinstance(chat["chat"], str)
    assert chat["first_hook"].endswith("Z")
    assert {each["destination"] for each in chat["deliveries"]} == {"desk", "room"}
    one = (await program.get(f"/chats?account={chat['account']}&chat={chat['chat']}")).json["chats"]
    assert [each["number"] for each in one] == [chat["number"]]


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("kind=missed", [True, False, False]),
        ("kind=offline", [False, True, False]),
        ("rating_at_most=2", [False, False, True]),
        ("told=nobody", [False, True, True]),
        ("rule=Missed%20chats", [True, False, False]),
        ("destination=room", [True, False, False]),
        ("since=2020-01-01T00:00:00Z", [True, True, True]),
        ("until=2020-01-01T00:00:00%2B14:00", [False, False, False]),
        ("since=0001-01-01T00:00:00%2B14:00", [True, True, True]),
        ("until=9999-12-31T23:59:59-14:00", [True, True, True]),
        ("account=nobody", [False, False, False]),
    ],
)
async def test_chats_are_filtered(
    relay: RunningRelay, program: Program, query: str, fits: list[bool]
) -> None:
    chats = [
        await post(relay, missed=True),
        await post(relay, offline=True),
        await post(relay, rating=1),
    ]
    found = {chat["number"] for chat in (await program.get(f"/chats?{query}")).json["chats"]}
    assert [chat in found for chat in chats] == fits


async def test_chats_are_counted(relay: RunningRelay, program: Program) -> None:
    since = f"since={utc_now().isoformat().replace('+', '%2B')}"
    await post(relay, missed=True)
    await post(relay, rating=1)
    counts = (await program.get(f"/chats/today?{since}")).json
    names = ("chats", "missed", "offline", "low_rated", "failed", "is_more")
    assert [counts[name] for name in names] == [2, 1, 0, 1, 0, False]
    today = await program.get("/chats/today")
    assert (today.status, today.json["since"].endswith("Z")) == (200, True)
    for since in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"):
        assert (await program.get(f"/chats/today?since={since}")).status == 200


async def test_a_chat_is_told_with_all_that_came_of_it(
    relay: RunningRelay, program: Program
) -> None:
    number = await post(relay, missed=True, visitor={"name": "Whole"})
    got = (await program.get(f"/chats/{number}")).json
    assert got["about"]["number"] == number
    assert got["told"]["visitor"]["name"] == "Whole"
    assert isinstance(got["told"]["duration"], float)
    (hook,) = got["hooks"]
    assert {rule["rule"]: rule["answer"] for rule in hook["rules"]}["Missed chats"] == "yes"
    assert {each["delivery"]["destination"] for each in got["deliveries"]} == {"desk", "room"}
    for which in ("of_that_day", "in_force"):
        why = (await program.get(f"/chats/{number}/explanation?rules={which}")).json
        (hook,) = why["hooks"]
        (rule,) = (each for each in hook["rules"] if each["rule"] == "Missed chats")
        assert (rule["answer"], rule["findings"][0]["holds"]) == ("yes", True)
        sends = {each["destination"] for each in rule["sends"]}
        assert sends == ({"desk", "room"} if which == "in_force" else set())


async def test_deliveries_are_listed_filtered_and_told(
    relay: RunningRelay, program: Program
) -> None:
    number = await post(relay, missed=True)
    about = (await program.get(f"/chats/{number}")).json["about"]
    mine = f"account={about['account']}&chat={about['chat']}"
    found = await all_of(program, f"/deliveries?{mine}&limit=1", "deliveries")
    assert [each["destination"] for each in found] == ["room", "desk"]
    (only,) = await all_of(program, f"/deliveries?{mine}&destination=desk", "deliveries")
    assert only["id"] == found[1]["id"]
    states = "state=queued&state=sending&state=failed&state=delivered&state=accepted"
    assert len(await all_of(program, f"/deliveries?{mine}&{states}", "deliveries")) == 2
    assert await all_of(program, f"/deliveries?{mine}&state=moved", "deliveries") == []
    assert await all_of(program, f"/deliveries?{mine}&alerts=true", "deliveries") == []
    one = (await program.get(f"/deliveries/{only['id']}")).json
    assert one["delivery"]["id"] == only["id"]
    assert one["maybe_repeated"] == []
    causes = (await program.get("/deliveries/causes")).json
    assert causes["more_failed"] is False


async def test_destinations_mutes_digests_and_health_are_told(
    relay: RunningRelay, program: Program
) -> None:
    found = (await program.get("/destinations")).json
    assert {each["name"] for each in found["destinations"]} >= {"desk", "room"}
    desk = (await program.get("/destinations/desk")).json
    assert (desk["transport"], "Missed chats" in desk["rules"]) == ("email", True)
    missing = await program.get("/destinations/nobody")
    assert (missing.status, missing.detail) == (
        404,
        "There is no such destination in the rules in force.",
    )
    admin = await signed_in(relay)
    await admin.submit("/mutes", rule="Missed chats", until="1h", because="lunch")
    (mute,) = (await program.get("/mutes")).json["mutes"]
    assert (mute["rule"], mute["because"], mute["by"]) == ("Missed chats", "lunch", "admin")
    await admin.submit(f"/mutes/{mute['id']}/end")
    assert (await program.get("/mutes")).json == {"mutes": []}
    assert (await program.get("/digests?destination=desk")).status == 200
    health = (await program.get("/health")).json
    assert (len(health["last_day"]), health["last_day"][-1]["failed"]) == (24, 0)
    assert health["readiness"]["ready"] is True
    assert health["rules"]["problems_of_the_saved_file"] == []


async def test_admins_read_users_tokens_and_acts(relay: RunningRelay, program: Program) -> None:
    await a_program(relay, name="auditor")
    users = (await program.get("/users")).json["users"]
    assert "admin" in {each["name"] for each in users}
    (newest, *_) = (await program.get("/tokens")).json["tokens"]
    assert (newest["name"], newest["maker"]) == ("auditor", "admin")
    acts = await all_of(program, "/acts?limit=3", "acts")
    assert [each["id"] for each in acts] == sorted({each["id"] for each in acts}, reverse=True)
    assert ("make token", "auditor") in {(each["act"], each["subject"]) for each in acts}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/chats?limit=0", "limit"),
        ("/chats?limit=201", "limit"),
        ("/chats?limit=1e99", "limit"),
        ("/chats?limit=ten", "limit"),
        ("/chats?limit=", "limit"),
        ("/chats?kind=both", "kind"),
        ("/chats?kind=null", "kind"),
        ("/chats?rating_at_most=NULL", "rating_at_most"),
        ("/chats?since=null", "since"),
        ("/chats?until=5", "until"),
        ("/chats?until=1e3", "until"),
        ("/chats?told=", "told"),
        ("/chats?rating_at_most=NaN", "rating_at_most"),
        ("/chats?since=yesterday", "since"),
        ("/chats?since=2026-01-01T00:00:00", "since"),
        ("/chats?q=%00", "q"),
        ("/chats?q=" + "a" * 201, "q"),
        ("/chats?chat=1", "chat"),
        ("/chats?limit=1&limit=2", "limit"),
        ("/chats?cursor=x", "cursor"),
        ("/chats?cursor=WyJ2Il0", "cursor"),
        ("/chats?cursor=" + "W" * 200, "cursor"),
        ("/deliveries?state=lost", "state[0]"),
        ("/deliveries/0", "number"),
        ("/deliveries/x", "number"),
        ("/deliveries/9223372036854775808", "number"),
        ("/deliveries/99999999999999999999999999", "number"),
        ("/chats/-1", "number"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(
    relay: RunningRelay, program: Program, path: str, field: str
) -> None:
    got = await program.get(path)
    assert (got.status, got.headers["content-type"]) == (422, "application/problem+json")
    assert list(got.json["fields"]) == [field]


@pytest.mark.parametrize(
    ("query", "status"), [("nothing=1", 422), ("q=%ff", 400), ("q=\u00e9", 200), ("a=&" * 60, 400)]
)
async def test_a_query_that_nobody_knows_is_refused(
    relay: RunningRelay, program: Program, query: str, status: int
) -> None:
    assert (await program.get(f"/chats?{query}")).status == status
    assert (await program.get("/me?nothing=1")).status == 422


async def test_a_cursor_is_of_one_filter_only(relay: RunningRelay, program: Program) -> None:
    for _ in range(3):
        await post(relay, missed=True)
    following = (await program.get("/chats?kind=missed&limit=1")).json["next"]
    cursor = following.partition("cursor=")[2]
    assert (await program.get(f"/chats?kind=missed&limit=2&cursor={cursor}")).status == 200
    for other in ("/chats?kind=offline", "/chats?q=a", "/deliveries?limit=1", "/acts?limit=1"):
        separator = "&" if "?" in other else "?"
        got = await program.get(f"{other}{separator}cursor={cursor}")
        assert (got.status, list(got.json["fields"])) == (422, ["cursor"])


async def test_a_list_does_not_move_when_new_ones_come(
    relay: RunningRelay, program: Program
) -> None:
    old = [await post(relay, visitor={"name": "Steady"}) for _ in range(4)]
    first = (await program.get("/chats?q=steady&limit=2")).json
    await post(relay, visitor={"name": "Steady"})
    rest = (await program.get(first["next"])).json
    found = [each["number"] for each in first["chats"] + rest["chats"]]
    assert found == sorted(old, reverse=True)


async def test_words_of_visitors_are_data(relay: RunningRelay, program: Program) -> None:
    name = "<script>alert(1)</script>\u202e"
    number = await post(relay, visitor={"name": name + "\ud800"})
    for path in (f"/chats/{number}", "/chats"):
        got = await program.get(path)
        assert got.headers["content-type"] == "application/json"
        assert got.headers["x-content-type-options"] == "nosniff"
    assert got.json["chats"][0]["visitor"].startswith("<script>")


async def test_a_session_reads_and_a_foreign_page_does_not(
    relay: RunningRelay, program: Program
) -> None:
    admin = await signed_in(relay)
    assert (await admin.get("/api/v1/me")).status == 200
    refused = await admin.get(
        "/api/v1/me", **{"sec-fetch-site": "cross-site", "sec-fetch-dest": "empty"}
    )
    assert (refused.status, refused.headers["content-type"]) == (403, "application/problem+json")
    assert (await Visitor(relay).get("/api/v1/openapi.json")).status == 401


async def test_times_are_utc(relay: RunningRelay, program: Program) -> None:
    await post(relay, missed=True)
    (chat, *_) = (await program.get("/chats?limit=1")).json["chats"]
    at = datetime.fromisoformat(chat["last_hook"])
    assert at.tzinfo == UTC

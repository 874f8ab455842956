"""Every route, asked by everybody: one table, made from the router."""

from typing import Any, cast

import pytest

from relay.console.site import handlers_of, litestar, routes
from relay.outbox.people import Role
from tests.console.visiting import Visitor, signed_in
from tests.running import RunningRelay

in_one_loop = pytest.mark.asyncio(loop_scope="module")
SOME = cast("Any", None)
"""Routes are only listed."""
TABLE = {
    (path, method): handler.opt["role"]
    for path, handler in handlers_of(litestar(routes(SOME, SOME, SOME, SOME), SOME))
    for method in sorted(handler.http_methods - {"HEAD"})
}
NEEDS = {
    ("/", "GET"): None,
    ("/login", "GET"): None,
    ("/login", "POST"): None,
    ("/logout", "POST"): Role.VIEWER,
    ("/chats", "GET"): Role.VIEWER,
    ("/chats/new", "GET"): Role.VIEWER,
    ("/chats/{number:int}", "GET"): Role.VIEWER,
    ("/deliveries", "GET"): Role.VIEWER,
    ("/deliveries/{number:int}", "GET"): Role.VIEWER,
    ("/deliveries/{number:int}/look", "GET"): Role.VIEWER,
    ("/deliveries/{number:int}/mail", "GET"): Role.VIEWER,
    ("/deliveries/{number:int}/resend", "POST"): Role.EDITOR,
    ("/destinations", "GET"): Role.VIEWER,
    ("/destinations/pause", "POST"): Role.ADMIN,
    ("/destinations/resume", "POST"): Role.ADMIN,
    ("/mutes", "GET"): Role.VIEWER,
    ("/mutes", "POST"): Role.EDITOR,
    ("/mutes/{number:int}/end", "POST"): Role.EDITOR,
    ("/health", "GET"): Role.VIEWER,
}


def test_the_table_has_every_route() -> None:
    assert TABLE == NEEDS


@in_one_loop
@pytest.mark.parametrize("role", Role)
async def test_a_route_is_open_to_its_role_and_those_above(relay: RunningRelay, role: Role) -> None:
    for (place, method), needed in TABLE.items():
        path = place.replace("{number:int}", "1")
        if path == "/login":
            continue
        visitor = await signed_in(relay, role)
        got = await (visitor.get(path) if method == "GET" else visitor.submit(path))
        refused = needed is not None and not role.may(needed)
        assert (got.status == 403) == refused, (path, method, got.status)
        assert got.status < 500


@in_one_loop
async def test_nobody_gets_in_without_a_session(relay: RunningRelay) -> None:
    for (place, method), needed in TABLE.items():
        path = place.replace("{number:int}", "1")
        visitor = Visitor(relay)
        got = await (visitor.get(path) if method == "GET" else visitor.post(path))
        if needed is not None:
            assert (got.status, got.place.partition("?")[0]) == (303, "/login"), path

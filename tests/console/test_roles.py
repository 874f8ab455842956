"""Every route, asked by everybody: one table, made from the router."""

import re
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
    for path, handler in handlers_of(litestar(routes(SOME, SOME, SOME, SOME, SOME), SOME))
    for method in sorted(handler.http_methods - {"HEAD"})
}
NEEDS = {
    ("/", "GET"): None,
    ("/login", "GET"): None,
    ("/login", "POST"): None,
    ("/login/{secret:str}", "GET"): None,
    ("/login/{secret:str}", "POST"): None,
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
    ("/destinations/test", "POST"): Role.ADMIN,
    ("/destinations/digest", "POST"): Role.EDITOR,
    ("/mutes", "GET"): Role.VIEWER,
    ("/mutes", "POST"): Role.EDITOR,
    ("/mutes/{number:int}/end", "POST"): Role.EDITOR,
    ("/me", "GET"): Role.VIEWER,
    ("/me/password", "POST"): Role.VIEWER,
    ("/me/sessions/{number:int}/end", "POST"): Role.VIEWER,
    ("/people", "GET"): Role.ADMIN,
    ("/people", "POST"): Role.ADMIN,
    ("/people/{number:int}/{act:str}", "POST"): Role.ADMIN,
    ("/tokens", "GET"): Role.ADMIN,
    ("/tokens", "POST"): Role.ADMIN,
    ("/tokens/{number:int}/end", "POST"): Role.ADMIN,
    ("/jobs/{id_:str}", "GET"): Role.VIEWER,
    ("/jobs/{id_:str}/stop", "POST"): Role.VIEWER,
    ("/acts", "GET"): Role.ADMIN,
    ("/acts.csv", "GET"): Role.ADMIN,
    ("/api/v1/me", "GET"): Role.VIEWER,
    ("/health", "GET"): Role.VIEWER,
    ("/hook-url", "POST"): Role.ADMIN,
}


def filled_in(template: str) -> str:
    """A path of this form, which leads to nothing that there is."""
    return re.sub(r"{\w+:str}", "x", re.sub(r"{\w+:int}", "999999", template))


def test_the_table_has_every_route() -> None:
    assert TABLE == NEEDS


@in_one_loop
@pytest.mark.parametrize("role", Role)
async def test_a_route_is_open_to_its_role_and_those_above(relay: RunningRelay, role: Role) -> None:
    for (template, method), needed in TABLE.items():
        if template == "/login":
            continue
        visitor = await signed_in(relay, role)
        path = filled_in(template)
        got = await (visitor.get(path) if method == "GET" else visitor.submit(path))
        refused = needed is not None and not role.may(needed)
        assert (got.status == 403) == refused, (path, method, got.status)
        assert got.status < 500


@in_one_loop
async def test_nobody_gets_in_without_a_session(relay: RunningRelay) -> None:
    for (template, method), needed in TABLE.items():
        visitor, path = Visitor(relay), filled_in(template)
        got = await (visitor.get(path) if method == "GET" else visitor.post(path))
        if path.startswith("/api/"):
            assert got.status == 401
        elif needed is not None:
            assert (got.status, got.place.partition("?")[0]) == (303, "/login"), path

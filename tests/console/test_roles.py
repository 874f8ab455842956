"""Every route, asked by everybody: one table, made from the router."""

import re
from typing import Any, cast

import pytest
from litestar.handlers import HTTPRouteHandler

from relay.console.demo_pages import DemoPages
from relay.console.json_api import SUBJECTS
from relay.console.site import handlers_of, litestar, routes
from relay.outbox.user_accounts import Role
from tests.console.visiting import Visitor, a_program, signed_in
from tests.running import RunningRelay

in_one_loop = pytest.mark.asyncio(loop_scope="module")
SOME = cast("Any", None)
"""Routes are only listed."""


def table(handlers: list[HTTPRouteHandler]) -> dict[tuple[str, str], Role | None]:
    return {
        (path, method): handler.opt["role"]
        for path, handler in handlers_of(litestar(handlers, SOME))
        for method in sorted(handler.http_methods - {"HEAD"})
    }


TABLE = table(routes(SOME, SOME, SOME, SOME, jobs=SOME, workers=SOME, previews=SOME))
NEEDS = {
    ("/", "GET"): None,
    ("/login", "GET"): None,
    ("/login", "POST"): None,
    ("/login/oidc", "GET"): None,
    ("/login/oidc/callback", "GET"): None,
    ("/login/{secret:str}", "GET"): None,
    ("/login/{secret:str}", "POST"): None,
    ("/logout", "POST"): Role.VIEWER,
    ("/chats", "GET"): Role.VIEWER,
    ("/chats/new", "GET"): Role.VIEWER,
    ("/chats/words", "POST"): Role.VIEWER,
    ("/chats/{number:int}", "GET"): Role.VIEWER,
    ("/chats/{number:int}/verdicts", "GET"): Role.VIEWER,
    ("/chats/{number:int}/replay", "GET"): Role.EDITOR,
    ("/chats/{number:int}/replay", "POST"): Role.EDITOR,
    ("/chats/{number:int}/export", "POST"): Role.ADMIN,
    ("/chats/{number:int}/erase", "GET"): Role.ADMIN,
    ("/chats/{number:int}/erase", "POST"): Role.ADMIN,
    ("/deliveries", "GET"): Role.VIEWER,
    ("/deliveries/{number:int}", "GET"): Role.VIEWER,
    ("/deliveries/{number:int}/look", "GET"): Role.VIEWER,
    ("/deliveries/{number:int}/mail", "GET"): Role.VIEWER,
    ("/deliveries/{number:int}/resend", "POST"): Role.EDITOR,
    ("/deliveries/failed/{group:str}", "GET"): Role.EDITOR,
    ("/deliveries/failed/{group:str}", "POST"): Role.EDITOR,
    ("/set-aside/{number:int}", "GET"): Role.ADMIN,
    ("/set-aside/{number:int}", "POST"): Role.ADMIN,
    ("/destinations", "GET"): Role.VIEWER,
    ("/destinations/pause", "POST"): Role.ADMIN,
    ("/destinations/resume", "POST"): Role.ADMIN,
    ("/destinations/test", "POST"): Role.ADMIN,
    ("/destinations/digest", "POST"): Role.EDITOR,
    ("/mutes", "GET"): Role.VIEWER,
    ("/mutes", "POST"): Role.EDITOR,
    ("/mutes/try", "POST"): Role.EDITOR,
    ("/mutes/{number:int}/end", "POST"): Role.EDITOR,
    ("/rules", "GET"): Role.VIEWER,
    ("/rule", "GET"): Role.VIEWER,
    ("/rules/switch", "POST"): Role.EDITOR,
    ("/rules/undo", "POST"): Role.EDITOR,
    ("/rules/edit", "GET"): Role.EDITOR,
    ("/rules/edit", "POST"): Role.EDITOR,
    ("/rules/edit/news", "GET"): Role.EDITOR,
    ("/rules/new", "GET"): Role.EDITOR,
    ("/rules/new", "POST"): Role.EDITOR,
    ("/rules/edit/patch", "GET"): Role.EDITOR,
    ("/rules/versions", "GET"): Role.VIEWER,
    ("/rules/versions/{version:str}", "GET"): Role.VIEWER,
    ("/rules/versions/{version:str}/restore", "POST"): Role.EDITOR,
    ("/me", "GET"): Role.VIEWER,
    ("/me/password", "POST"): Role.VIEWER,
    ("/me/choices", "POST"): Role.VIEWER,
    ("/help/keys", "GET"): Role.VIEWER,
    ("/me/sessions/{number:int}/end", "POST"): Role.VIEWER,
    ("/people", "GET"): Role.ADMIN,
    ("/people", "POST"): Role.ADMIN,
    ("/people/{number:int}/{act:str}", "POST"): Role.ADMIN,
    ("/tokens", "GET"): Role.ADMIN,
    ("/tokens", "POST"): Role.ADMIN,
    ("/tokens/{number:int}/end", "POST"): Role.ADMIN,
    ("/jobs/{id_:str}", "GET"): Role.VIEWER,
    ("/jobs/{id_:str}/stop", "POST"): Role.VIEWER,
    ("/rules/check", "POST"): Role.EDITOR,
    ("/rules/schema.json", "GET"): Role.EDITOR,
    ("/rules/draft", "POST"): Role.EDITOR,
    ("/rules/try/chat", "POST"): Role.EDITOR,
    ("/rules/try/cases", "POST"): Role.EDITOR,
    ("/rules/try/past", "POST"): Role.EDITOR,
    ("/previews/{name:str}", "GET"): Role.EDITOR,
    ("/acts", "GET"): Role.ADMIN,
    ("/acts.csv", "GET"): Role.ADMIN,
    ("/api/v1/openapi.json", "GET"): Role.VIEWER,
    ("/api/v1/chats", "GET"): Role.VIEWER,
    ("/api/v1/chats/{number:str}", "GET"): Role.VIEWER,
    ("/api/v1/chats/{number:str}/explanation", "GET"): Role.VIEWER,
    ("/api/v1/deliveries", "GET"): Role.VIEWER,
    ("/api/v1/deliveries/causes", "GET"): Role.VIEWER,
    ("/api/v1/deliveries/{number:str}", "GET"): Role.VIEWER,
    ("/api/v1/unreadable-posts", "GET"): Role.VIEWER,
    ("/api/v1/digests", "GET"): Role.VIEWER,
    ("/api/v1/destinations", "GET"): Role.VIEWER,
    ("/api/v1/destinations/{name:str}", "GET"): Role.VIEWER,
    ("/api/v1/mutes", "GET"): Role.VIEWER,
    ("/api/v1/chats/{number:str}/replay", "GET"): Role.EDITOR,
    ("/api/v1/chats/{number:str}/replay", "POST"): Role.EDITOR,
    ("/api/v1/chats/{number:str}/export", "POST"): Role.ADMIN,
    ("/api/v1/chats/{number:str}/erase", "POST"): Role.ADMIN,
    ("/api/v1/chats/words", "POST"): Role.VIEWER,
    ("/api/v1/mutes/try", "POST"): Role.EDITOR,
    ("/api/v1/unreadable-posts/{number:str}/take-in", "POST"): Role.ADMIN,
    ("/api/v1/deliveries/{number:str}/resend", "POST"): Role.EDITOR,
    ("/api/v1/digests/send", "POST"): Role.EDITOR,
    ("/api/v1/unreadable-posts/{number:str}", "GET"): Role.ADMIN,
    ("/api/v1/rules", "GET"): Role.VIEWER,
    ("/api/v1/rules", "PUT"): Role.EDITOR,
    ("/api/v1/rules/check", "POST"): Role.EDITOR,
    ("/api/v1/rules/undo", "POST"): Role.EDITOR,
    ("/api/v1/rules/versions", "GET"): Role.VIEWER,
    ("/api/v1/rules/versions/{hash:str}", "GET"): Role.VIEWER,
    ("/api/v1/wordings", "GET"): Role.EDITOR,
    ("/api/v1/wordings/{language:str}/{key:str}", "GET"): Role.EDITOR,
    ("/api/v1/wordings/{language:str}/{key:str}", "PUT"): Role.EDITOR,
    ("/api/v1/wordings/{language:str}/{key:str}", "DELETE"): Role.EDITOR,
    ("/api/v1/wordings/{language:str}/{key:str}/preview", "POST"): Role.EDITOR,
    ("/api/v1/templates", "GET"): Role.ADMIN,
    ("/api/v1/templates/{name:str}/{file:str}", "GET"): Role.ADMIN,
    ("/api/v1/templates/{name:str}/{file:str}", "PUT"): Role.ADMIN,
    ("/api/v1/templates/{name:str}/{file:str}", "DELETE"): Role.ADMIN,
    ("/api/v1/templates/{name:str}/{file:str}/preview", "POST"): Role.ADMIN,
    ("/api/v1/backtests", "POST"): Role.EDITOR,
    ("/api/v1/chats/today", "GET"): Role.VIEWER,
    ("/api/v1/rules/merge", "POST"): Role.EDITOR,
    ("/api/v1/rules/new", "POST"): Role.EDITOR,
    ("/api/v1/rules/switch", "POST"): Role.EDITOR,
    ("/api/v1/rules/in-force", "GET"): Role.VIEWER,
    ("/api/v1/rules/in-force/{name:str}", "GET"): Role.VIEWER,
    ("/api/v1/rules/schema", "GET"): Role.EDITOR,
    ("/api/v1/rules/try", "POST"): Role.EDITOR,
    ("/api/v1/rules/test", "POST"): Role.EDITOR,
    ("/api/v1/deliveries/{number:str}/notification", "GET"): Role.VIEWER,
    ("/api/v1/hook-url", "POST"): Role.ADMIN,
    ("/api/v1/resends", "POST"): Role.EDITOR,
    ("/api/v1/jobs/{id:str}", "GET"): Role.VIEWER,
    ("/api/v1/jobs/{id:str}", "DELETE"): Role.VIEWER,
    ("/api/v1/destinations/{name:str}/pause", "POST"): Role.ADMIN,
    ("/api/v1/destinations/{name:str}/resume", "POST"): Role.ADMIN,
    ("/api/v1/destinations/{name:str}/test", "POST"): Role.ADMIN,
    ("/api/v1/mutes", "POST"): Role.EDITOR,
    ("/api/v1/mutes/{number:str}", "DELETE"): Role.EDITOR,
    ("/api/v1/users", "POST"): Role.ADMIN,
    ("/api/v1/users/{number:str}", "DELETE"): Role.ADMIN,
    ("/api/v1/users/{number:str}/link", "POST"): Role.ADMIN,
    ("/api/v1/users/{number:str}/role", "POST"): Role.ADMIN,
    ("/api/v1/users/{number:str}/end-sessions", "POST"): Role.ADMIN,
    ("/api/v1/tokens", "POST"): Role.ADMIN,
    ("/api/v1/tokens/{number:str}", "DELETE"): Role.ADMIN,
    ("/api/v1/health", "GET"): Role.VIEWER,
    ("/api/v1/me", "GET"): Role.VIEWER,
    ("/api/v1/acts", "GET"): Role.ADMIN,
    ("/api/v1/users", "GET"): Role.ADMIN,
    ("/api/v1/tokens", "GET"): Role.ADMIN,
    ("/wordings", "GET"): Role.EDITOR,
    ("/wordings/{language:str}/{key:str}", "GET"): Role.EDITOR,
    ("/wordings/{language:str}/{key:str}", "POST"): Role.EDITOR,
    ("/templates", "GET"): Role.ADMIN,
    ("/templates/{name:str}/{file:str}", "GET"): Role.ADMIN,
    ("/templates/{name:str}/{file:str}", "POST"): Role.ADMIN,
    ("/health", "GET"): Role.VIEWER,
    ("/status", "GET"): Role.VIEWER,
    ("/hook-url", "POST"): Role.ADMIN,
}

OF_DEMO = {
    ("/login/demo/{secret:str}", "GET"): None,
    ("/login/demo/{secret:str}", "POST"): None,
    ("/received", "GET"): Role.VIEWER,
    ("/received/new", "GET"): Role.VIEWER,
    ("/received/mails/{number:int}", "GET"): Role.VIEWER,
    ("/received/send", "POST"): Role.EDITOR,
    ("/received/guide", "POST"): Role.VIEWER,
}
"""Only the console of a demo has these."""


API_HEADERS = {"x-relay": "1", "sec-fetch-site": "same-origin"}


def filled_in(template: str) -> str:
    """A path of this form, which leads to nothing that there is."""
    return re.sub(r"{\w+:str}", "x", re.sub(r"{\w+:int}", "999999", template))


def test_the_table_has_every_route() -> None:
    assert TABLE == NEEDS
    assert table(DemoPages(SOME, SOME, SOME, SOME).routes()) == OF_DEMO


BY_API = {
    ("/chats", "GET"): "find_chats count_today",
    ("/chats/new", "GET"): "find_chats",
    ("/chats/words", "POST"): "begin_word_search",
    ("/chats/{number:int}", "GET"): "get_chat",
    ("/chats/{number:int}/verdicts", "GET"): "explain_chat",
    ("/chats/{number:int}/replay", "GET"): "preview_replay",
    ("/chats/{number:int}/replay", "POST"): "replay_chat",
    ("/chats/{number:int}/export", "POST"): "export_chat",
    ("/chats/{number:int}/erase", "GET"): "export_chat",
    ("/chats/{number:int}/erase", "POST"): "erase_chat",
    ("/deliveries", "GET"): "find_deliveries group_deliveries list_unreadable_posts",
    ("/deliveries/{number:int}", "GET"): "get_delivery",
    ("/deliveries/{number:int}/resend", "POST"): "resend_delivery",
    ("/deliveries/failed/{group:str}", "GET"): "group_deliveries",
    ("/deliveries/failed/{group:str}", "POST"): "begin_resends",
    ("/set-aside/{number:int}", "GET"): "get_unreadable_post",
    ("/set-aside/{number:int}", "POST"): "take_in_post",
    ("/destinations", "GET"): "list_destinations list_digests",
    ("/destinations/pause", "POST"): "pause_destination",
    ("/destinations/resume", "POST"): "resume_destination",
    ("/destinations/test", "POST"): "test_destination",
    ("/destinations/digest", "POST"): "send_digest",
    ("/mutes", "GET"): "find_mutes",
    ("/mutes", "POST"): "mute",
    ("/mutes/try", "POST"): "begin_mute_trial",
    ("/mutes/{number:int}/end", "POST"): "end_mute",
    ("/rules", "GET"): "get_rules list_rules",
    ("/rule", "GET"): "get_rule",
    ("/rules/switch", "POST"): "switch_rule",
    ("/rules/schema.json", "GET"): "get_schema",
    ("/rules/try/chat", "POST"): "try_rules",
    ("/rules/try/cases", "POST"): "test_rules",
    ("/previews/{name:str}", "GET"): "try_rules",
    ("/deliveries/{number:int}/look", "GET"): "get_notification",
    ("/deliveries/{number:int}/mail", "GET"): "get_notification",
    ("/hook-url", "POST"): "show_hook_url",
    ("/rules/undo", "POST"): "undo_rules",
    ("/rules/check", "POST"): "check_rules",
    ("/rules/edit", "GET"): "get_rules",
    ("/rules/edit", "POST"): "check_rules merge_rules publish_rules",
    ("/rules/edit/news", "GET"): "list_versions",
    ("/rules/new", "GET"): "write_rule get_rules",
    ("/rules/new", "POST"): "write_rule",
    ("/rules/try/past", "POST"): "begin_backtest",
    ("/rules/versions", "GET"): "list_versions",
    ("/rules/versions/{version:str}", "GET"): "get_version",
    ("/wordings", "GET"): "list_wordings",
    ("/wordings/{language:str}/{key:str}", "GET"): "get_wording",
    ("/wordings/{language:str}/{key:str}", "POST"): "change_wording preview_wording reset_wording",
    ("/templates", "GET"): "list_templates",
    ("/templates/{name:str}/{file:str}", "GET"): "get_template",
    ("/templates/{name:str}/{file:str}", "POST"): "change_template preview_template reset_template",
    ("/me", "GET"): "get_me",
    ("/people", "GET"): "list_users",
    ("/people", "POST"): "add_user",
    (
        "/people/{number:int}/{act:str}",
        "POST",
    ): "change_role end_sessions make_user_link remove_user",
    ("/tokens", "GET"): "list_tokens",
    ("/tokens", "POST"): "make_token",
    ("/tokens/{number:int}/end", "POST"): "end_token",
    ("/jobs/{id_:str}", "GET"): "get_job",
    ("/jobs/{id_:str}/stop", "POST"): "stop_job",
    ("/acts", "GET"): "find_acts",
    ("/acts.csv", "GET"): "find_acts",
    ("/health", "GET"): "get_health",
    ("/status", "GET"): "get_health",
}
"""What a page shows or does, and the operations by which a program does so."""
OF_PEOPLE = {
    *(("/", "GET"), ("/login", "GET"), ("/login", "POST"), ("/logout", "POST")),
    *(("/login/oidc", "GET"), ("/login/oidc/callback", "GET")),
    *(("/login/{secret:str}", "GET"), ("/login/{secret:str}", "POST")),
    *(("/me/password", "POST"), ("/me/sessions/{number:int}/end", "POST")),
    *(("/me/choices", "POST"), ("/help/keys", "GET")),
    # What somebody writes is kept for them until they publish it: a program keeps its text itself.
    *(("/rules/draft", "POST"), ("/rules/versions/{version:str}/restore", "POST")),
    ("/rules/edit/patch", "GET"),
}
"""Signing in, what a browser is to look like, and drafts: programs have tokens, and none of these."""


def test_what_pages_do_programs_do_too() -> None:
    pages = {one for one in TABLE if not one[0].startswith("/api/")}
    assert pages == BY_API.keys() | OF_PEOPLE
    assert len(pages) == len(BY_API) + len(OF_PEOPLE)
    operations = {each.name: each for subject in SUBJECTS for each in subject.all}
    for (path, method), names in BY_API.items():
        role = TABLE[path, method]
        assert role is not None
        for name in names.split():
            # A program needs the role that a person needs; what several pages show may need less.
            assert operations[name].role is role or method == "GET", (path, name)


@in_one_loop
@pytest.mark.parametrize("role", Role)
async def test_a_route_is_open_to_its_role_and_those_above(relay: RunningRelay, role: Role) -> None:
    visitor = await signed_in(relay, role)
    for (template, method), needed in TABLE.items():
        if template == "/login":
            continue
        path = filled_in(template)
        if path.startswith("/api/"):
            got = await visitor.ask(method, path, API_HEADERS)
        else:
            got = await (visitor.get(path) if method == "GET" else visitor.submit(path))
        refused = needed is not None and not role.may(needed)
        assert (got.status == 403) == refused, (path, method, got.status)
        assert got.status < 500
        if path == "/logout":
            visitor = await signed_in(relay, role)


@in_one_loop
async def test_nobody_gets_in_without_a_session(relay: RunningRelay) -> None:
    for (template, method), needed in TABLE.items():
        visitor, path = Visitor(relay), filled_in(template)
        if path.startswith("/api/"):
            got = await visitor.ask(method, path, API_HEADERS)
            assert got.status == 401
            continue
        got = await (visitor.get(path) if method == "GET" else visitor.post(path))
        if needed is None:
            continue
        assert (got.status, got.place.partition("?")[0]) == (303, "/login"), path


@in_one_loop
@pytest.mark.parametrize("role", Role)
async def test_a_token_opens_the_api_as_its_role_and_no_page(
    relay: RunningRelay, role: Role
) -> None:
    program = await a_program(relay, role)
    for (template, method), needed in TABLE.items():
        path = filled_in(template)
        if not path.startswith("/api/"):
            continue
        got = await program.ask(method, path, {})
        refused = needed is not None and not role.may(needed)
        assert (got.status == 403) == refused, (path, method, got.status)
        assert got.status < 500
    page = await Visitor(relay, headers={"authorization": f"Bearer {program.token}"}).get("/health")
    assert (page.status, page.place) == (303, "/login?next=/health")

"""Puts the console together: its pages as an ASGI application, with the checks around it and the role that each needs."""

import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from litestar import Litestar, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import (
    HTTPException,
    NotAuthorizedException,
    NotFoundException,
    PermissionDeniedException,
)
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from relay.alerts.problem_detection import Kind
from relay.console.allowed_hosts import Hosts
from relay.console.chat_acts import ChatActs
from relay.console.chat_list_page import ChatListPage, WordPage
from relay.console.chat_page import ChatPage
from relay.console.delivery_pages import DeliveryPages
from relay.console.demo_pages import DemoPages
from relay.console.destination_page import BETWEEN_TESTS, TESTS, DestinationPage
from relay.console.draft_pages import DraftPages, PreviewMails
from relay.console.health_page import HealthPage
from relay.console.jobs import JobPage, Jobs
from relay.console.json_api import api_routes
from relay.console.json_api.api_request import API, LARGEST, Api
from relay.console.json_api.problem_details import problem_answer
from relay.console.logged_acts import ActPages
from relay.console.mute_page import MutePage
from relay.console.new_rule_page import NewRulePage
from relay.console.oidc import OidcProvider, oidc_of
from relay.console.page import AnyRequest, FormRefused, Hold, Page, Pages, Setting, Status
from relay.console.request_checks import RequestChecks
from relay.console.request_context import caller_of
from relay.console.resend_page import ResendPage
from relay.console.rules_edit_page import RulesEditPage
from relay.console.rules_page import RulePage, RulesPage, RulesVersionPages
from relay.console.sign_in import SignIn
from relay.console.sign_in_page import OidcPages, SignInPages, to_sign_in
from relay.console.static_files import StaticFiles
from relay.console.throttle import Throttle
from relay.console.unreadable_post_page import UnreadablePostPage
from relay.console.user_pages import OwnPage, PeoplePages, TokenPages
from relay.console.wording_pages import wording_routes
from relay.demo import Demo
from relay.outbox import StorageRefused, StorageUnavailable
from relay.outbox.pauses import Pause
from relay.outbox.user_accounts import Role
from relay.rendering.isolation.worker_pool import RenderPool
from relay.services.wording_preview import WordingPreviews
from relay.timing.plan import Mute
from relay.web.app import Asgi, Running
from relay.web.health import storage_trouble

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_console(running: Running, demo: Demo | None = None) -> AsyncIterator[Asgi]:
    """The console of a running relay, as an ASGI application; that of a demo is opened by a link."""
    settings = running.ready.settings
    async with AsyncExitStack() as undo:
        sign_in = SignIn(running.parts.outbox, settings.console_password, running.clock)
        undo.callback(sign_in.close)
        files = StaticFiles()
        pages = Pages(
            files,
            clock=running.clock,
            status=lambda: _status(running),
            setting=lambda: _setting(running),
            give_way=running.parts.outbox.sessions.precedence.give_way,
            demo=demo,
        )
        undo.callback(pages.close)
        jobs = Jobs(sign_in.is_open, running.clock)
        undo.push_async_callback(jobs.close)
        workers = RenderPool(running.ready.template_folders)
        undo.push_async_callback(workers.close)
        previews = WordingPreviews(settings)
        undo.push_async_callback(previews.close)
        hosts = Hosts(settings.public_url, settings.host)
        oidc = oidc_of(settings, running.clock)
        if oidc:
            undo.push_async_callback(oidc.http.close)
        handlers = routes(
            running, pages, sign_in, hosts, jobs=jobs, workers=workers, previews=previews, oidc=oidc
        )
        if demo:
            demo_pages = DemoPages(demo, pages, sign_in, running.clock)
            await demo_pages.open_link()
            handlers += demo_pages.routes()
        yield RequestChecks(
            litestar(handlers, pages),
            hosts=hosts,
            files=files,
            reader=running.reader,
            sign_in=sign_in,
            trusted_header=settings.console_trusted_header,
        )


def routes(
    running: Running,
    pages: Pages,
    sign_in: SignIn,
    hosts: Hosts,
    *,
    jobs: Jobs,
    workers: RenderPool,
    previews: WordingPreviews,
    oidc: OidcProvider | None = None,
) -> list[HTTPRouteHandler]:
    """Every route of the console."""
    tests = Throttle(TESTS, BETWEEN_TESTS)
    mails = PreviewMails()
    return [
        *SignInPages(pages, sign_in, hosts, oidc.host if oidc else "").routes(),
        *OidcPages(pages, sign_in, hosts, oidc).routes(),
        *ChatListPage(running, pages).routes(),
        *WordPage(running, pages, jobs).routes(),
        *ChatPage(running, pages).routes(),
        *ChatActs(running, pages, sign_in).routes(),
        *DeliveryPages(running, pages).routes(),
        *ResendPage(running, pages, jobs).routes(),
        *UnreadablePostPage(running, pages).routes(),
        *DestinationPage(running, pages, tests).routes(),
        *MutePage(running, pages, jobs).routes(),
        *RulesPage(running, pages).routes(),
        *RulePage(running, pages).routes(),
        *RulesEditPage(running, pages, jobs).routes(),
        *NewRulePage(running, pages).routes(),
        *RulesVersionPages(running, pages).routes(),
        *PeoplePages(pages, sign_in, hosts).routes(),
        *OwnPage(pages, sign_in).routes(),
        *TokenPages(pages, sign_in).routes(),
        *ActPages(pages, sign_in).routes(),
        *JobPage(jobs, pages).routes(),
        *api_routes(Api(running, sign_in, jobs, tests, workers, previews)),
        *DraftPages(running, pages, jobs, workers, mails).routes(),
        *wording_routes(running, pages, mails, previews),
        *HealthPage(running, pages).routes(),
    ]


def litestar(handlers: Iterable[HTTPRouteHandler], pages: Pages) -> Litestar:
    """An application of these routes. Each says in its `opt` which role it needs, or that it needs none."""
    app = Litestar(
        list(handlers),
        openapi_config=None,
        logging_config=None,
        debug=False,
        guards=[_let_in],
        exception_handlers={
            HTTPException: _refused(pages),
            StorageUnavailable: _without_database(pages),
            StorageRefused: _without_database(pages),
            TimeoutError: _without_database(pages),
            Exception: _failed(pages),
        },
    )
    for path, handler in handlers_of(app):
        if "role" not in handler.opt:
            raise RuntimeError(f"{path} does not say who may see it")
    return app


def handlers_of(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    """The path and handler of each route, without Litestar's own handlers of OPTIONS, which the checks never let pass."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if handler.http_methods != {"OPTIONS"}:
                yield route.path, handler


async def _let_in(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    role: Role | None = handler.opt["role"]
    caller = caller_of(connection.scope)
    if role is None or caller.may(role):
        if caller.no_database and not handler.opt.get("needs_no_database"):
            raise StorageUnavailable(caller.no_database)
        if any(
            isinstance(each, int) and each > LARGEST for each in connection.path_params.values()
        ):
            raise NotFoundException  # and no database knows such a number
        return
    is_known = caller.session or caller.token or caller.stranger
    raise PermissionDeniedException if is_known else NotAuthorizedException


def _status(running: Running) -> Status:
    parts = running.parts
    troubles = {(each.kind, each.subject) for each in running.watch.glance.troubles}
    broken = {(Kind.BROKEN, name) for name, lane in parts.in_force.lanes.items() if lane.is_broken}
    known, problems = {kind for kind, _ in troubles}, parts.reload.problems
    stops = storage_trouble(parts.outbox) and not known & {Kind.STORAGE, Kind.DATABASE}
    more = bool(stops) + bool(problems and Kind.RULES not in known)
    return Status(
        troubles=len(troubles | broken) + more,
        rules_problem=problems[0] if problems else "",
        holds=_holds(running),
    )


def _holds(running: Running) -> tuple[Hold, ...]:
    """The present pauses and mutes, as this relay has last read them."""
    now, in_force = running.clock(), running.parts.in_force
    paused = ((name, lane.paused) for name, lane in in_force.lanes.items())
    muted = (mute for mute in in_force.mutes if mute.begins <= now < mute.until)
    return (
        *(_hold(pause, "", name) for name, pause in paused if pause and pause.lasts(now)),
        *(_hold(mute, mute.rule, mute.destination) for mute in muted),
    )


def _hold(act: Pause | Mute, rule: str, destination: str) -> Hold:
    return Hold(
        is_pause=isinstance(act, Pause),
        rule=rule,
        destination=destination,
        by=act.by,
        until=act.until,
        because=act.because,
    )


def _setting(running: Running) -> Setting:
    rules = running.parts.in_force.rules
    return Setting(rules.language, rules.timezone)


# -- what goes wrong -------------------------------------------------------------------------------------------

Answering = Callable[[AnyRequest, Any], Any]


def _refused(pages: Pages) -> Answering:
    def answer(request: AnyRequest, error: HTTPException) -> Response[Any]:
        if request.scope["path"].startswith(API):
            return problem_answer(error.status_code, headers=error.headers)
        if stranger := caller_of(request.scope).stranger:
            return pages.show_at_once(request, "unknown_user.html", status=403, name=stranger)
        if error.status_code == 401:
            caller = caller_of(request.scope)
            if caller.form.get("text") and not caller.is_partial:
                return pages.show_at_once(request, "session_ended.html", status=401)
            return to_sign_in(request)
        if isinstance(error, FormRefused):
            why = pages.language(request).gettext(error.words, **error.values)
            is_partial = caller_of(request.scope).is_partial
            template = "refused_part.html" if is_partial else "refused.html"
            return pages.show_at_once(request, template, status=error.status_code, why=why)
        names = {403: "forbidden.html", 404: "not_found.html"}
        template = names.get(error.status_code, "bad_request.html")
        headers = dict(error.headers or {})
        return pages.show_at_once(request, template, status=error.status_code, headers=headers)

    return answer


def _without_database(pages: Pages) -> Answering:
    def answer(request: AnyRequest, error: Exception) -> Page:
        log.warning("%s can't be shown: %s", _path(request), error or "no answer in time")
        if request.scope["path"].startswith(API):
            return problem_answer(503)
        # Of a server the words may name its users.
        why = str(error) or "no answer in time"
        is_known = caller_of(request.scope).may(Role.VIEWER)
        return pages.show_at_once(
            request,
            "no_database.html",
            status=503,
            headers={"retry-after": "5"},
            why=why if is_known else "",
        )

    return answer


def _failed(pages: Pages) -> Answering:
    def answer(request: AnyRequest, error: Exception) -> Page:
        number = secrets.token_hex(4)
        log.error("%s %s failed (error %s)", request.method, _path(request), number, exc_info=error)
        if request.scope["path"].startswith(API):
            return problem_answer(500, instance=number)
        return pages.show_at_once(request, "error.html", status=500, number=number)

    return answer


def _path(request: AnyRequest) -> str:
    """A path for the log, without the secret of a link."""
    path: str = request.scope["path"]
    return "/login/***" if path.startswith("/login/") else path

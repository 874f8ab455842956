"""The pages on which people sign in and out, here or with an OpenID Connect provider."""

import logging
import re
import time
from urllib.parse import quote, urlsplit

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from relay.console.allowed_hosts import Hosts
from relay.console.oidc import CALLBACK, LASTS, OidcProvider, OidcRefused
from relay.console.page import READ, AnyRequest, Page, Pages, form_route, page_route, redirect
from relay.console.request_context import caller_of, cookie_header
from relay.console.sign_in import LinkEnded, SignIn, SignInRefused
from relay.console.throttle import Throttle
from relay.outbox.user_accounts import Role
from relay.services.users import is_password

HOME = "/chats"
OIDC_COOKIE = "__Host-relay-oidc"
"""The cookie that ties the provider's answer to the browser."""
OIDC_TRIES, BETWEEN_OIDC_TRIES = 20, 5.0
"""How many sign-ins with the provider one address may begin at once, and how many seconds there are between further ones."""
_MAY_FOLLOW = re.compile(
    r"/(?:health|chats|deliveries|destinations|rules?|wordings|templates|mutes|received|set-aside|jobs|previews|people|tokens|acts(?:\.csv)?|me|help)(?:/[\w.~%-]+)*(?:\?[\w.~%&=+:@,/-]*)?",
    re.ASCII,
)

log = logging.getLogger(__name__)


def safe_next(path: str) -> str:
    """The path to go to after signing in, limited to pages of the console."""
    return path if _MAY_FOLLOW.fullmatch(path) and ".." not in path else HOME


def to_sign_in(request: AnyRequest) -> Response[bytes]:
    """A redirect to the sign-in page, and from there back to the requested page."""
    is_partial = caller_of(request.scope).is_partial
    path = request.scope["path"]
    if query := request.scope["query_string"].decode("latin-1"):
        path += f"?{query}"
    if is_partial:
        path = _path_of(request.headers.get("hx-current-url", ""))
    back = safe_next(path) if is_partial or request.method in READ else HOME
    place = "/login" if back == HOME else f"/login?next={quote(back, safe='/')}"
    if is_partial:
        # A redirect would put the page to sign in into a part of another page.
        return Response(b"", status_code=401, headers={"hx-redirect": place})
    return redirect(place)


def _path_of(url: str) -> str:
    """Path and query of a URL; empty for anything else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


class SignInPages:
    """`/`, `/login` and `/logout`."""

    def __init__(self, pages: Pages, sign_in: SignIn, hosts: Hosts, oidc: str = "") -> None:
        """`oidc`: the host of the OpenID Connect provider; empty for none."""
        self._pages, self._sign_in, self._hosts, self._oidc = pages, sign_in, hosts, oidc

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/", None, self._home),
            page_route("/login", None, self._login_form),
            form_route("/login", None, self._login),
            form_route("/logout", Role.VIEWER, self._logout),
            page_route("/login/{secret:str}", None, self._link),
            form_route("/login/{secret:str}", None, self._link),
        ]

    async def _home(self, request: AnyRequest) -> Response[bytes]:
        return redirect(HOME) if caller_of(request.scope).session else to_sign_in(request)

    async def _login_form(self, request: AnyRequest) -> Response[bytes]:
        path = request.query_params.get("next", HOME)
        if name := caller_of(request.scope).stranger:
            return await self._pages.show(request, "unknown_user.html", status=403, name=name)
        if caller_of(request.scope).session:
            return redirect(safe_next(path))
        return await self._form(request, path)

    async def _logout(self, request: AnyRequest) -> Response[bytes]:
        await self._sign_in.sign_out(caller_of(request.scope))
        clear = {"clear-site-data": '"cache", "storage"', "set-cookie": cookie_header("")}
        if not caller_of(request.scope).by_proxy:
            return redirect("/login", **clear)
        return await self._pages.show(request, "signed_out.html", headers=clear)

    async def _link(self, request: AnyRequest, secret: FromPath[str]) -> Page:
        """The page of a link that sets a password.

        Only its form uses it up, as some programs open links in emails to check them.
        """
        caller, is_safe = caller_of(request.scope), self._hosts.is_safe(request.headers["host"])
        password = caller.form.get("password", "")
        try:
            user = await self._sign_in.owner_of_link(secret)
            if request.method in READ or not is_safe or not is_password(password):
                return await self._pages.show(
                    request,
                    "set_password.html",
                    status=200 if request.method in READ else 422,
                    name=user.name,
                    is_safe=is_safe,
                )
            cookie = await self._sign_in.use_link(secret, password, caller)
        except (LinkEnded, SignInRefused):
            return await self._pages.show(request, "link_ended.html", status=404)
        return redirect(HOME, **{"set-cookie": cookie_header(cookie)})

    async def _login(self, request: AnyRequest) -> Response[bytes]:
        caller = caller_of(request.scope)
        name, password = caller.form.get("name", ""), caller.form.get("password", "")
        path = caller.form.get("next", HOME)
        if not self._hosts.is_safe(request.headers["host"]):
            return await self._form(request, path, status=403)
        try:
            secret = await self._sign_in.sign_in(name, password, caller)
        except SignInRefused as refused:
            if refused.wait:
                return await self._form(request, path, status=429, wait=refused.wait)
            return await self._form(request, path, status=422, is_wrong=True)
        return redirect(safe_next(path), **{"set-cookie": cookie_header(secret)})

    async def _form(
        self,
        request: AnyRequest,
        path: str,
        *,
        status: int = 200,
        is_wrong: bool = False,
        wait: int = 0,
    ) -> Page:
        return await self._pages.show(
            request,
            "login.html",
            status=status,
            headers={"retry-after": str(wait)} if wait else None,
            is_wrong=is_wrong,
            wait=wait,
            is_safe=self._hosts.is_safe(request.headers["host"]),
            next=safe_next(path),
            name=caller_of(request.scope).form.get("name", "")[:100],
            oidc=self._oidc,
            oidc_error="",
        )


class OidcPages:
    """`/login/oidc`, and the path to which the provider sends people back."""

    def __init__(
        self, pages: Pages, sign_in: SignIn, hosts: Hosts, provider: OidcProvider | None
    ) -> None:
        """`provider`: None where none is set; then the pages are not found."""
        self._pages, self._sign_in, self._hosts = pages, sign_in, hosts
        self._provider = provider
        self._tries = Throttle(OIDC_TRIES, BETWEEN_OIDC_TRIES)

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/login/oidc", None, self._begin),
            page_route(CALLBACK, None, self._finish),
        ]

    def _checked(self, request: AnyRequest) -> tuple[OidcProvider, int]:
        """The provider, and how many seconds to wait before it may be asked. Raises NotFoundException."""
        if self._provider is None or not self._hosts.is_safe(request.headers["host"]):
            raise NotFoundException
        address = caller_of(request.scope).address
        return self._provider, self._tries.take(address, time.monotonic())

    async def _begin(self, request: AnyRequest) -> Response[bytes]:
        provider, wait = self._checked(request)
        if wait:
            return await self._refused(request, wait=wait)
        next_ = safe_next(request.query_params.get("next", ""))
        try:
            place, cookie = await provider.begin(next_)
        except OidcRefused as error:
            return await self._refused(request, error)
        return redirect(place, **{"set-cookie": cookie_header(cookie, OIDC_COOKIE, LASTS)})

    async def _finish(self, request: AnyRequest) -> Response[bytes]:
        provider, wait = self._checked(request)
        if wait:
            return await self._refused(request, wait=wait)
        caller, given = caller_of(request.scope), dict(request.query_params)
        try:
            name, next_ = await provider.finish(request.cookies.get(OIDC_COOKIE, ""), given)
        except OidcRefused as error:
            return await self._refused(request, error)
        begun = await self._sign_in.sign_in_elsewhere(name, caller, "by OpenID Connect")
        if begun is None:
            log.warning("sign-in by OpenID Connect from %s: there is no such user", caller.address)
            return self._forgetting(
                await self._pages.show(request, "unknown_user.html", status=403, name=name)
            )
        secret, _ = begun
        answer = redirect(safe_next(next_), **{"set-cookie": cookie_header(secret)})
        return self._forgetting(answer)

    def _forgetting(self, answer: Response[bytes]) -> Response[bytes]:
        """The answer, which also deletes the cookie of the sign-in."""
        answer.set_cookie(key=OIDC_COOKIE, value="", max_age=0, secure=True, httponly=True)
        return answer

    async def _refused(
        self, request: AnyRequest, error: OidcRefused | None = None, *, wait: int = 0
    ) -> Page:
        address = caller_of(request.scope).address
        if error:
            log.warning("sign-in by OpenID Connect from %s refused: %s", address, error)
        answer = await self._pages.show(
            request,
            "login.html",
            status=error.status if error else 429,
            headers={"retry-after": str(wait)} if wait else None,
            is_wrong=False,
            wait=wait,
            is_safe=True,
            next=safe_next(""),
            name="",
            oidc=self._provider.host if self._provider else "",
            oidc_error=error.why if error else "wait",
            oidc_code=error.code if error else "",
        )
        return answer if wait else self._forgetting(answer)

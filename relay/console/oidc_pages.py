"""The pages that send people to an OpenID Connect provider and receive them back."""

import logging
import time

from litestar import Response
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler

from relay.console.hosts import Hosts
from relay.console.oidc import CALLBACK, LASTS, Denied, NotBegunHere, OidcProvider, OidcRefused
from relay.console.page import AnyRequest, Page, Pages, page_route, redirect
from relay.console.request_context import cookie_header, visit_of
from relay.console.sign_in import SignIn
from relay.console.sign_in_page import safe_next
from relay.console.throttle import Throttle

COOKIE = "__Host-relay-oidc"
"""The cookie that ties the provider's answer to the browser."""
TRIES, BETWEEN_TRIES = 20, 5.0
"""How many sign-ins one address may begin at once, and how many seconds there are between further ones."""

log = logging.getLogger(__name__)


class OidcPages:
    """`/login/oidc`, and the path to which the provider sends people back."""

    def __init__(
        self, pages: Pages, sign_in: SignIn, hosts: Hosts, provider: OidcProvider | None
    ) -> None:
        """`provider`: None where none is set; then the pages are not found."""
        self._pages, self._sign_in, self._hosts = pages, sign_in, hosts
        self._provider = provider
        self._tries = Throttle(TRIES, BETWEEN_TRIES)

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            page_route("/login/oidc", None, self._begin),
            page_route(CALLBACK, None, self._finish),
        ]

    def _checked(self, request: AnyRequest) -> tuple[OidcProvider, int]:
        """The provider, and how many seconds to wait before it may be asked. Raises NotFoundException."""
        if self._provider is None or not self._hosts.is_safe(request.headers["host"]):
            raise NotFoundException
        address = visit_of(request.scope).address
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
        return redirect(place, **{"set-cookie": cookie_header(cookie, COOKIE, LASTS)})

    async def _finish(self, request: AnyRequest) -> Response[bytes]:
        provider, wait = self._checked(request)
        if wait:
            return await self._refused(request, wait=wait)
        visit, given = visit_of(request.scope), dict(request.query_params)
        try:
            name, next_ = await provider.finish(request.cookies.get(COOKIE, ""), given)
        except OidcRefused as error:
            return await self._refused(request, error)
        begun = await self._sign_in.sign_in_elsewhere(name, visit, "by OpenID Connect")
        if begun is None:
            log.warning("sign-in by OpenID Connect from %s: there is no such user", visit.address)
            return self._forgetting(
                await self._pages.show(request, "stranger.html", status=403, name=name)
            )
        secret, _ = begun
        answer = redirect(safe_next(next_), **{"set-cookie": cookie_header(secret)})
        return self._forgetting(answer)

    def _forgetting(self, answer: Response[bytes]) -> Response[bytes]:
        """The answer, which also deletes the cookie of the sign-in."""
        answer.set_cookie(key=COOKIE, value="", max_age=0, secure=True, httponly=True)
        return answer

    async def _refused(
        self, request: AnyRequest, error: OidcRefused | None = None, *, wait: int = 0
    ) -> Page:
        address = visit_of(request.scope).address
        why = "wait" if wait else "failed"
        if error:
            log.warning("sign-in by OpenID Connect from %s refused: %s", address, error)
        status = 429 if wait else 502
        if isinstance(error, NotBegunHere):
            why, status = "not begun", 400
        if isinstance(error, Denied):
            why, status = "denied", 403
        answer = await self._pages.show(
            request,
            "login.html",
            status=status,
            headers={"retry-after": str(wait)} if wait else None,
            is_wrong=False,
            wait=wait,
            is_safe=True,
            next=safe_next(""),
            name="",
            oidc=self._provider.host if self._provider else "",
            oidc_error=why,
            oidc_code=error.code if isinstance(error, Denied) else "",
        )
        return answer if wait else self._forgetting(answer)

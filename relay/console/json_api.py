"""What programs ask: JSON below `/api/v1`, by a token or by the session of a browser. Errors are RFC 9457's problem details."""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from relay.console.page import READ
from relay.console.visit import visit_of
from relay.outbox.people import Role

API = "/api/"
PROBLEM = "application/problem+json"


def problem(status: int, detail: str) -> bytes:
    """The body of an error; `detail`: what was wrong, in words."""
    return msgspec.json.encode(
        {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    )


class ApiRoutes:
    """`/api/v1/me`."""

    def routes(self) -> list[HTTPRouteHandler]:
        """The route handlers."""

        @route("/api/v1/me", http_method=READ, opt={"role": Role.VIEWER}, sync_to_thread=False)
        def me(request: Request[Any, Any, Any]) -> Response[bytes]:
            visit = visit_of(request.scope)
            by = visit.token or (visit.session.user if visit.session else None)
            kind = "token" if visit.token else "user"
            known = {"kind": kind, "name": by.name, "role": by.role.value} if by else {}
            return Response(msgspec.json.encode(known), media_type="application/json")

        return [me]

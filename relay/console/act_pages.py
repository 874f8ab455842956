"""The log of acts: who did what, as a page and as a table for spreadsheets."""

from typing import Any

from litestar import Request, route
from litestar.handlers import HTTPRouteHandler

from relay.console.page import READ, Page, Pages
from relay.console.sign_in import SignIn
from relay.console.spreadsheet import csv_file
from relay.outbox.log_of_acts import KeptAct, list_acts
from relay.outbox.people import Role

ON_A_PAGE = 50
IN_A_TABLE = 10_000
_NEWEST = 2**62


class ActPages:
    """`/acts` and `/acts.csv`."""

    def __init__(self, pages: Pages, sign_in: SignIn) -> None:
        self._pages, self._sign_in = pages, sign_in

    def routes(self) -> list[HTTPRouteHandler]:
        """The route handlers."""
        admin = {"role": Role.ADMIN}

        @route("/acts", http_method=READ, opt=admin)
        async def acts(request: Request[Any, Any, Any]) -> Page:
            before = _number(request.query_params.get("before", ""))
            found = await self._sign_in.read(list_acts, before=before, most=ON_A_PAGE + 1)
            return await self._pages.show(
                request,
                "acts.html",
                nav="acts",
                acts=found[:ON_A_PAGE],
                older=found[ON_A_PAGE - 1].id if len(found) > ON_A_PAGE else 0,
                is_first=before == _NEWEST,
            )

        @route("/acts.csv", http_method=READ, opt=admin)
        async def table(request: Request[Any, Any, Any]) -> Page:
            before = _number(request.query_params.get("before", ""))
            found = await self._sign_in.read(list_acts, before=before, most=IN_A_TABLE)
            names = KeptAct.__struct_fields__
            return csv_file(
                "acts.csv", names, ([getattr(each, name) for name in names] for each in found)
            )

        return [acts, table]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else _NEWEST

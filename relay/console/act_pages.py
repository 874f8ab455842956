"""The log of acts: who did what, as a page and as a table for spreadsheets."""

import csv
import io
from typing import Any

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from relay.console.page import READ, Page, Pages
from relay.console.sign_in import SignIn
from relay.outbox.log_of_acts import KeptAct, list_acts
from relay.outbox.people import Role

ON_A_PAGE = 50
IN_A_TABLE = 10_000
_NEWEST = 2**62
_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Spreadsheets take such a cell for a formula, some also in wide signs."""


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
            return Response(
                _as_csv(found),
                media_type="text/csv; charset=utf-8; header=present",
                headers={"content-disposition": 'attachment; filename="acts.csv"'},
            )

        return [acts, table]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else _NEWEST


def _as_csv(acts: list[KeptAct]) -> bytes:
    """With the mark by which spreadsheets know UTF-8."""
    names = KeptAct.__struct_fields__
    file = io.StringIO(newline="")
    rows = csv.writer(file)
    rows.writerow(names)
    for act in acts:
        rows.writerow(
            [act.id, act.at.isoformat(), *(_cell(getattr(act, name)) for name in names[2:])]
        )
    return b"\xef\xbb\xbf" + file.getvalue().encode("utf-8", "replace")


def _cell(text: str) -> str:
    """Never a formula."""
    return f"'{text}" if text.startswith(_BEGINS_FORMULA) else text

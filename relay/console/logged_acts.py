"""Does each act of a person in the console once, and logs it in the transaction of its change. Also has the log's pages."""

import contextlib
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from litestar.handlers import HTTPRouteHandler

from relay.console.page import AnyRequest, Page, Pages, page_route
from relay.console.request_context import Caller
from relay.console.sign_in import SignIn
from relay.console.spreadsheet import csv_file
from relay.outbox.audit_log import Act, KeptAct, add_act, list_acts
from relay.outbox.database_session import Session, Sessions
from relay.outbox.idempotency import IdempotencyKey, add_key
from relay.outbox.user_accounts import Role
from relay.services import Progress, in_thread

ON_A_PAGE = 50
IN_A_TABLE = 10_000
_NEWEST = 2**62
KEY = "key"
"""The hidden field of a form that identifies the act, so that a form sent twice acts once."""


class AlreadyDone(Exception):
    """Raised where a form was sent a second time; nothing was changed by the second."""


def new_key() -> str:
    """A random value for a form's field KEY: 16 characters."""
    return secrets.token_urlsafe(12)


def act_of(
    caller: Caller, act: str, subject: str, detail: str = "", *, each_time: bool = False
) -> Act:
    """The log entry for an act of this caller's user or program. Must not contain a visitor's words.

    `each_time`: log it each time that its form is sent, because the act is also done each time.
    """
    name, key = caller.name, "" if each_time else caller.form.get(KEY, "")
    # The key is only for this act: another act with the same key must be logged, too.
    scope = json.dumps([name, act, subject, detail, key])
    return Act(
        by=name,
        via=caller.via,
        address=caller.address,
        act=act,
        subject=subject,
        detail=detail,
        key=hashlib.sha256(scope.encode()).hexdigest() if key else None,
    )


@dataclass(frozen=True)
class ActingSessions:
    """Sessions for a service that acts for somebody: the first transaction that writes also logs the act.

    Writing raises AlreadyDone if the act was done before.
    """

    sessions: Sessions
    act: Act
    now: datetime
    key: IdempotencyKey | None = None
    """The idempotency key of a program's request."""
    _written: list[Act] = field(default_factory=list)

    def reading(self) -> AbstractContextManager[Session]:
        """A session that only reads; nothing is logged."""
        return self.sessions.reading()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes are stored together with the act in the log of acts."""
        with self._with_act(self.sessions.writing) as session:
            yield session

    @contextlib.contextmanager
    def writing_often(self) -> Iterator[Callable[[], AbstractContextManager[Session]]]:
        """A function that opens short sessions; the act is stored with the first that commits."""
        with self.sessions.writing_often() as begin:
            yield lambda: self._with_act(begin)

    @contextlib.contextmanager
    def _with_act(self, begin: Callable[[], AbstractContextManager[Session]]) -> Iterator[Session]:
        with begin() as session:
            sql, cursor = session.operations.sql, session.cursor
            if not self._written:
                is_new = not self.key or add_key(sql, cursor, self.key, self.now)
                if not is_new or not add_act(sql, cursor, self.act, self.now):
                    raise AlreadyDone
            yield session
        self._written.append(self.act)

    def empty_log(self) -> Path | None:
        """Empty SQLite's write-ahead log; the path of the log where that was not possible."""
        return self.sessions.empty_log()


async def write_act(
    sessions: Sessions, act: Act, now: datetime, key: IdempotencyKey | None = None
) -> None:
    """Log an act that changes nothing in the database, before it is done. Raises AlreadyDone."""

    def work(_: Progress) -> None:
        with ActingSessions(sessions, act, now, key).writing():
            pass

    await in_thread(work)


class ActPages:
    """The log of acts: `/acts`, and `/acts.csv` for spreadsheets."""

    def __init__(self, pages: Pages, sign_in: SignIn) -> None:
        self._pages, self._sign_in = pages, sign_in

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/acts", Role.ADMIN, self._acts),
            page_route("/acts.csv", Role.ADMIN, self._table),
        ]

    async def _acts(self, request: AnyRequest) -> Page:
        before = _number(request.query_params.get("before", ""))
        acts = await self._sign_in.read(list_acts, before=before, most=ON_A_PAGE + 1)
        return await self._pages.show(
            request,
            "acts.html",
            nav="acts",
            acts=acts[:ON_A_PAGE],
            older=acts[ON_A_PAGE - 1].id if len(acts) > ON_A_PAGE else 0,
            is_first=before == _NEWEST,
        )

    async def _table(self, request: AnyRequest) -> Page:
        before = _number(request.query_params.get("before", ""))
        acts = await self._sign_in.read(list_acts, before=before, most=IN_A_TABLE)
        names = KeptAct.__struct_fields__
        rows = ([getattr(each, name) for name in names] for each in acts)
        return await in_thread(lambda _: csv_file("acts.csv", names, rows))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else _NEWEST

"""What people do in the console: each act once, with who did it, in one transaction with what it changes."""

import contextlib
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from relay.console.visit import Visit
from relay.outbox.idempotency import IdempotencyKey, add_key
from relay.outbox.log_of_acts import Act, add_act
from relay.outbox.session import Session, Sessions
from relay.services import Progress, in_thread

KEY = "key"
"""The field of a form by which an act is known: sent twice, it is done once."""


class AlreadyDone(Exception):
    """A form was sent for the second time; the second changed nothing."""


def new_key() -> str:
    """For a form."""
    return secrets.token_urlsafe(12)


def act_of(
    visit: Visit, act: str, subject: str, detail: str = "", *, each_time: bool = False
) -> Act:
    """What the user or program of this visit does. Without words of visitors.

    `each_time`: it is written down however often its form is sent, since it is also done as often.
    """
    name, key = visit.name, "" if each_time else visit.form.get(KEY, "")
    # Of this act alone: with the key of one form, another act would be done and not written down.
    scope = json.dumps([name, act, subject, detail, key])
    return Act(
        by=name,
        via=visit.via,
        address=visit.address,
        act=act,
        subject=subject,
        detail=detail,
        key=hashlib.sha256(scope.encode()).hexdigest() if key else None,
    )


@dataclass(frozen=True)
class ActingSessions:
    """Sessions for a service that acts for somebody: its transaction also writes down the act.

    Where the act was done before, writing raises AlreadyDone. Of several transactions the first writes it.
    """

    sessions: Sessions
    act: Act
    now: datetime
    key: IdempotencyKey | None = None
    """Of the request by which a program asks for it."""
    _written: list[Act] = field(default_factory=list)

    def reading(self) -> AbstractContextManager[Session]:
        return self.sessions.reading()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        with self._with_act(self.sessions.writing) as session:
            yield session

    @contextlib.contextmanager
    def writing_often(self) -> Iterator[Callable[[], AbstractContextManager[Session]]]:
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
        return self.sessions.empty_log()


async def write_act(
    sessions: Sessions, act: Act, now: datetime, key: IdempotencyKey | None = None
) -> None:
    """Write down an act that changes nothing in the database, before it is done. Raises AlreadyDone."""

    def work(_: Progress) -> None:
        with ActingSessions(sessions, act, now, key).writing():
            pass

    await in_thread(work)

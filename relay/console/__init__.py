"""The console: web pages that show what came in, what was sent to whom, and why. Off unless somebody may sign in."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from relay.outbox.user_accounts import has_users
from relay.runtime.startup import Ready
from relay.web.app import Asgi, Pages, Running

if TYPE_CHECKING:
    from relay.demo import Demo


def console_of(_ready: Ready) -> Pages:
    """The function that opens the console. If nobody may sign in, nothing of it is imported, and its paths are not found."""
    return _open


def console_of_demo(demo: "Demo") -> Callable[[Ready], Pages]:
    """A function that returns the opener of a demo's console, which has a page of received messages and a link that signs in."""
    return lambda _: partial(_open_for, demo)


@asynccontextmanager
async def _open(running: Running) -> AsyncIterator[Asgi | None]:
    if not await _is_on(running):
        yield None
        return
    async with _open_for(None, running) as console:
        yield console


@asynccontextmanager
async def _open_for(demo: "Demo | None", running: Running) -> AsyncIterator[Asgi]:
    from relay.console.site import open_console  # noqa: PLC0415 - see `console_of`

    async with open_console(running, demo) as console:
        yield console


async def _is_on(running: Running) -> bool:
    """Whether there is a password in the settings, or a user in the database."""
    if running.ready.settings.console_password is not None:
        return True
    return await running.parts.outbox.read(
        lambda session: has_users(session.operations.sql, session.cursor)
    )

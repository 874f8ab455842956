"""The console: web pages that show what came in, what was told to whom, and why. Off unless somebody may sign in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay.outbox.people import has_users
from relay.runtime.startup import Ready
from relay.web.app import Asgi, Pages, Running


def console_of(_ready: Ready) -> Pages:
    """What opens the console; where nobody may sign in nothing of it is loaded, and its paths lead nowhere."""
    return _open


@asynccontextmanager
async def _open(running: Running) -> AsyncIterator[Asgi | None]:
    if not await _is_on(running):
        yield None
        return
    from relay.console.site import open_console  # noqa: PLC0415 - see above

    async with open_console(running) as console:
        yield console


async def _is_on(running: Running) -> bool:
    """Whether there is a password in the settings, or a user in the database."""
    if running.ready.settings.console_password is not None:
        return True
    return await running.parts.outbox.read(
        lambda session: has_users(session.operations.sql, session.cursor)
    )

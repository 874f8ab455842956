"""The console: web pages that show what came in, what was told to whom, and why. Off unless there is a way to sign in."""

from relay.runtime.startup import Ready
from relay.web.app import Pages


def console_of(ready: Ready) -> Pages | None:
    """What opens the console; None where it is off: then nothing of it is loaded, and its paths lead nowhere."""
    if ready.settings.console_password is None:
        return None
    from relay.console.site import open_console  # noqa: PLC0415 - see above

    return open_console

"""The tokens at the end of the hook's URL: those of RELAY_HOOK_TOKENS, or of a file that the relay keeps beside its database."""

import secrets
from collections.abc import Iterable
from pathlib import Path

from relay.files import read_file, write_private
from relay.settings.parsers import is_token
from relay.settings.table import Settings


def token_file(settings: Settings) -> Path | None:
    """The path of the file with the relay's own tokens; None with RELAY_HOOK_TOKENS or a database server."""
    if settings.hook_tokens or not isinstance(settings.database, Path):
        return None
    return settings.database.with_name(f"{settings.database.name}.token")


def read_tokens(settings: Settings) -> tuple[str, ...]:
    """The accepted tokens, newest first; empty where none was made yet.

    Raises ValueError, with a message for the user, for a bad file.
    """
    path = token_file(settings)
    if path is None:
        return tuple(token.reveal() for token in settings.hook_tokens)
    try:
        tokens = tuple(read_file(path).decode("utf-8", "replace").split())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ValueError(f"{path} can't be used: {error.strerror}") from None
    if not tokens or not all(map(is_token, tokens)):
        # An empty token would let everybody in.
        raise ValueError(
            f"{path} holds no token: write the one into it that stands at the end of the URL that Smartsupp posts to. "
            "Only if Smartsupp has no URL yet, remove the file; then the relay makes a new one"
        )
    return tokens


def new_token() -> str:
    """A new random token of 32 characters for the hook's URL."""
    return secrets.token_urlsafe(24)


def write_tokens(path: Path, tokens: Iterable[str]) -> None:
    """Write the accepted tokens, newest first. Raises ValueError, with a message for the user."""
    try:
        write_private(path, "\n".join(tokens))
    except OSError as error:
        raise ValueError(f"{path} can't be written: {error.strerror}") from None

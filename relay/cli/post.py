"""`relay post`: a chat to a running relay, as Smartsupp would send it."""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

import click

from relay.settings import Settings, SettingsError, read_settings

TIMEOUT = 15.0
NOT_FOUND = 404
_NOT_OURS = (
    "The relay there does not know this token: RELAY_HOOK_TOKENS, or the token file beside the database, is another "
    "one's."
)


@click.command()
@click.argument("chats", metavar="CHAT.json...", type=click.File("rb"), nargs=-1, required=True)
@click.option("--url", help="The hook's whole URL, token and all. Default: by the settings.")
def post(chats: tuple[BinaryIO, ...], url: str | None) -> None:
    """Post chats to a running relay, as Smartsupp would.

    Each CHAT.json is sent as it is; `-` reads standard input. Without --url the relay is looked for
    where RELAY_LISTEN says, with the first of RELAY_HOOK_TOKENS or the token beside the database.
    """
    address = url or _own_address()
    failed = False
    for chat in chats:
        status, answer = _post(address, chat.read())
        click.echo(f"{chat.name}: {status} {answer}", err=status >= 300)
        if status == NOT_FOUND:
            click.echo(_NOT_OURS, err=True)
        failed = failed or status >= 300
    sys.exit(1 if failed else 0)


def _own_address() -> str:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        raise click.UsageError("\n".join(error.problems)) from None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.port}/hooks/smartsupp/{_token(settings)}"


def _token(settings: Settings) -> str:
    if settings.hook_tokens:
        return settings.hook_tokens[0].reveal()
    if not isinstance(settings.database, Path):
        raise click.UsageError("no token: RELAY_HOOK_TOKENS is not set; give the URL with --url")
    path = Path(f"{settings.database}.token")
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        raise click.UsageError(
            f"no token: RELAY_HOOK_TOKENS is not set and {path} can't be read; give the URL with --url"
        ) from None


def _post(url: str, body: bytes) -> tuple[int, str]:
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("--url starts with http:// or https://")
    request = urllib.request.Request(  # noqa: S310 - checked just above
        url, data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            return int(answer.status), json.dumps(json.load(answer))
    except urllib.error.HTTPError as error:
        return error.code, error.read(2000).decode("utf-8", "replace").strip()
    except OSError as error:
        reason = getattr(error, "reason", error)
        click.echo(
            f"nobody answers at {url.rpartition('/')[0]}/***: {reason}; is `relay serve` running?",
            err=True,
        )
        sys.exit(2)

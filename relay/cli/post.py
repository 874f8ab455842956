"""`relay post`: a chat to a running relay, as Smartsupp would send it."""

import asyncio
import os
import sys
from typing import BinaryIO

import click

from relay.cli.hook_url import own_url
from relay.cli.printing import FINE, FOUND, could_not_run
from relay.runtime.startup import read_tokens, settings_of
from relay.services.trial_send import post_hook
from relay.settings.table import Settings
from relay.transports.http import HttpClient, HttpTimeouts

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
    settings, _ = settings_of(os.environ)
    fine = asyncio.run(_post_all(url or _own_address(), chats, settings))
    sys.exit(FINE if fine else FOUND)


async def _post_all(url: str, chats: tuple[BinaryIO, ...], settings: Settings) -> bool:
    http = HttpClient(
        allow_private=True,
        proxy=settings.proxy,
        ca_file=settings.ca_file,
        timeouts=HttpTimeouts(total=TIMEOUT),
    )
    fine = True
    try:
        for chat in chats:
            posted = await post_hook(http, url, chat.read())
            if not posted.status:
                could_not_run([f"{posted.words}; is `relay serve` running?"])
            is_taken = posted.deliveries is not None
            click.echo(f"{chat.name}: {posted.status} {posted.words}", err=not is_taken)
            if posted.status == NOT_FOUND and posted.is_ours:
                click.echo(_NOT_OURS, err=True)
            fine = fine and is_taken
    finally:
        await http.close()
    return fine


def _own_address() -> str:
    settings, wrong = settings_of(os.environ)
    if wrong:
        could_not_run(wrong)
    try:
        tokens = read_tokens(settings)
    except ValueError as error:
        could_not_run([str(error)])
    if not tokens:
        could_not_run(
            [
                "no token: RELAY_HOOK_TOKENS is not set, and the relay has made none; give the URL with --url"
            ]
        )
    return f"{own_url(settings)}/hooks/smartsupp/{tokens[0]}"

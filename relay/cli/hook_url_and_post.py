"""`relay hook-url` and `relay post`: the URL for hooks, and posting one as Smartsupp would."""

import asyncio
import os
import sys
from typing import BinaryIO

import click

from relay.cli.open_rules import good_settings
from relay.cli.printing import FINE, NOT_FINE, could_not_run, counted, print_lines
from relay.runtime.hook_tokens import new_token, read_tokens, token_file, write_tokens
from relay.runtime.startup import settings_of
from relay.services.trial_send import post_hook
from relay.settings.environment import Environment
from relay.settings.table import Settings
from relay.transports.http import HttpClient, HttpTimeouts


@click.command()
@click.option(
    "--new", "is_new", is_flag=True, help="Make a new token; the previous ones stay accepted."
)
@click.option("--end-previous", is_flag=True, help="Accept the newest token only from now on.")
def hook_url(*, is_new: bool, end_previous: bool) -> None:
    """Print the URL that Smartsupp is to post to, with its token. Whoever knows it can post chats.

    `--new` puts a new token into it, where the old one has leaked: a running relay accepts both within two seconds.
    When Smartsupp posts to the new URL, `--end-previous` shuts the old one out.
    """
    if is_new and end_previous:
        raise click.UsageError(
            "--new and --end-previous can't be used together: first one, then the other"
        )
    settings = good_settings()
    try:
        tokens = read_tokens(settings)
        if not tokens:
            could_not_run(["there is no token yet: `relay serve` makes one at its first start"])
        before, tokens = tokens, _changed(tokens, is_new=is_new, end_previous=end_previous)
        if tokens != before:
            _keep(settings, tokens)
    except ValueError as error:
        could_not_run([str(error)])
    click.echo(f"{settings.public_url or settings.own_url}/hooks/smartsupp/{tokens[0]}")
    print_lines(_advice(len(tokens) - 1, is_new=is_new), err=True)


def _changed(tokens: tuple[str, ...], *, is_new: bool, end_previous: bool) -> tuple[str, ...]:
    return (new_token(), *tokens) if is_new else tokens[:1] if end_previous else tokens


def _keep(settings: Settings, tokens: tuple[str, ...]) -> None:
    named = Environment(os.environ).files(["RELAY_HOOK_TOKENS"])
    path = next(iter(named), token_file(settings))
    try:
        if path:
            write_tokens(path, tokens)
            return
        why = "RELAY_HOOK_TOKENS has the tokens, so nothing was changed"
    except ValueError as error:
        why = str(error)
    could_not_run(
        [f"{why}. Set RELAY_HOOK_TOKENS to this and restart the relay:", ",".join(tokens)]
    )


def _advice(previous: int, *, is_new: bool) -> list[str]:
    if not previous:
        return []
    also = f"{counted(previous, 'previous token')} {'is' if previous == 1 else 'are'} accepted too"
    then = "`relay hook-url --end-previous` ends that, once Smartsupp posts to this URL"
    give = "Give Smartsupp this URL. " if is_new else ""
    return [f"{give}{also[0].upper()}{also[1:]}; {then}."]


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
    sys.exit(FINE if fine else NOT_FINE)


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
    settings = good_settings()
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
    return f"{settings.own_url}/hooks/smartsupp/{tokens[0]}"

"""`relay hook-url`: where Smartsupp is to post, and a new token without losing hooks."""

import os

import click

from relay.cli.printing import could_not_run, counted, print_lines
from relay.runtime.startup import new_token, read_tokens, settings_of, token_file, write_tokens
from relay.settings.environment import Environment
from relay.settings.table import Settings


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
            "--new and --end-previous exclude one another: first one, then the other"
        )
    settings, wrong = settings_of(os.environ)
    if wrong:
        could_not_run(wrong)
    try:
        tokens = read_tokens(settings)
        if not tokens:
            could_not_run(["there is no token yet: `relay serve` makes one at its first start"])
        before, tokens = tokens, _changed(tokens, is_new=is_new, end_previous=end_previous)
        if tokens != before:
            _keep(settings, tokens)
    except ValueError as error:
        could_not_run([str(error)])
    click.echo(f"{settings.public_url or own_url(settings)}/hooks/smartsupp/{tokens[0]}")
    print_lines(_advice(len(tokens) - 1, is_new=is_new), err=True)


def own_url(settings: Settings) -> str:
    """Where a relay on this computer with these settings listens, without a slash at the end."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.port}"


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

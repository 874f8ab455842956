"""`relay demo`: runs a relay without any account or server."""

import sys
from pathlib import Path

import click

from relay.cli.serve import run
from relay.console import console_of_demo
from relay.demo import DemoOptions, run_demo

_DEFAULTS = DemoOptions()


@click.command()
@click.option(
    "--listen",
    default=_DEFAULTS.listen,
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where the relay takes hooks and shows its console; a free port if this one is taken.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    help="Keep rules.yaml, the samples and the folder mytemplates with texts of your own in this folder, and use them "
    "again next time.  "
    "[default: a folder that goes away with the demo]",
)
@click.option("--once", is_flag=True, help="End when the sample chats' notifications have arrived.")
def demo(listen: str, folder: Path | None, *, once: bool) -> None:
    """Start the relay to try it out: example rules, sample chats, and stand-ins for mail, Slack and Teams.

    Nothing leaves this computer. Ctrl-C ends the demo.
    """
    options = DemoOptions(listen=listen, folder=folder, once=once)
    complete = False

    async def work() -> None:
        nonlocal complete
        complete = await run_demo(options, pages=console_of_demo, echo=click.echo)

    try:
        run(work())
    except KeyboardInterrupt:
        return  # Ctrl-C before the relay handled signals itself
    if once and not complete:
        sys.exit(1)

"""`relay demo`: see the relay at work without any account or server."""

import sys
from pathlib import Path

import click

from relay.cli.serve import run
from relay.demo.run import DemoOptions, run_demo

_DEFAULTS = DemoOptions()


@click.command()
@click.option(
    "--listen",
    default=_DEFAULTS.listen,
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where the relay takes hooks; a free port if this one is taken.",
)
@click.option(
    "--page-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=_DEFAULTS.page_port,
    show_default=True,
    help="Where the page with everything received is shown; a free port if this one is taken.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    help="Keep rules.yaml and the samples in this folder, and use them again next time; with the templates in its "
    "folder mytemplates, if there is one.  "
    "[default: a folder that goes away with the demo]",
)
@click.option("--once", is_flag=True, help="End when the sample chats' notifications have arrived.")
def demo(listen: str, page_port: int, folder: Path | None, *, once: bool) -> None:
    """Start the relay to try it out: example rules, sample chats, and stand-ins for mail, Slack and Teams.

    Nothing leaves this computer. Ctrl-C ends the demo.
    """
    options = DemoOptions(listen=listen, page_port=page_port, folder=folder, once=once)
    complete = False

    async def work() -> None:
        nonlocal complete
        complete = await run_demo(options, say=click.echo)

    try:
        run(work())
    except KeyboardInterrupt:
        return  # Ctrl-C before the relay was up, and so before it heeded signals itself
    if once and not complete:
        sys.exit(1)

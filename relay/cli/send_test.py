"""`relay send-test`: sends a made-up chat to one destination, with the real transport."""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from relay.cli.open_rules import RULES, good_settings, open_rules
from relay.cli.printing import FINE, JSON, NOT_FINE, could_not_run, print_json, print_lines
from relay.delivery.renderer import Renderer
from relay.destination import Destination
from relay.languages import Languages, speak
from relay.outbox import Delivery
from relay.rendering.isolation.worker_pool import RenderPool
from relay.rendering.template_folders import Folders
from relay.rules import RuleBook
from relay.rules.reading.value_parsers import did_you_mean, quoted
from relay.runtime.startup import known_secret, missing_variables, template_folders
from relay.services.trial_send import (
    TEST_TEMPLATE,
    CantTest,
    TrialResult,
    needed_names,
    queued_test,
    trial_of,
)
from relay.settings.environment import Environment
from relay.settings.table import Settings
from relay.transports.access import Access
from relay.transports.email.smtp_client import SmtpTimeouts
from relay.transports.registry import open_transport

PATIENCE = 130.0
"""Seconds. A Teams flow that answers after it has posted may take two minutes."""


@click.command()
@click.argument("destination")
@RULES
@click.option("--to", metavar="RECIPIENT", help="Only to this one of its recipients.")
@click.option(
    "--template",
    metavar="NAME",
    default=TEST_TEMPLATE,
    show_default=True,
    help="Whose words to use.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=PATIENCE,
    show_default=True,
    help="How long to wait for each answer.",
)
@JSON
def send_test(
    destination: str,
    rules: Path | None,
    to: str | None,
    template: str,
    timeout: float,
    *,
    as_json: bool,
) -> None:
    """Send a test to DESTINATION, and say how it ended.

    DESTINATION is one of the rules file: RULES, or else the one that RELAY_RULES names (rules.yaml). A made-up
    chat goes to each of its recipients, over the real transport, once; it says that it is a test. The relay need not
    be running, and keeps no record of it.

    Exit code: 0 all were taken, 1 one was not or its template is broken, 2 it could not run.
    """
    settings = good_settings()
    book = open_rules(rules)
    target = book.destinations.get(destination)
    if target is None:
        hint = did_you_mean(destination, book.destinations)
        could_not_run([f"there is no destination {quoted(destination)}; {hint}"])
    _refuse_missing(book, target)
    folders = template_folders(settings)
    speak(Languages(folders))
    known = Folders(folders).names()
    if template not in known:
        could_not_run([f"there is no template {quoted(template)}; {did_you_mean(template, known)}"])
    try:
        queued = queued_test(
            book,
            destination,
            to=to,
            template=template,
            mail_domain=settings.mail_domain,
            now=datetime.now(UTC),
        )
    except CantTest as error:
        *others, last = error.problems
        could_not_run([*others, f"--to: {last}" if to else f"{last}: --to anna@example.com"])
    ended = asyncio.run(_send(queued, target, settings, timeout))
    if as_json:
        print_json(_as_json(target, ended))
    else:
        print_lines(_lines(ended))
    sys.exit(FINE if all(each.is_good and not each.trouble for each in ended) else NOT_FINE)


def _refuse_missing(book: RuleBook, destination: Destination) -> None:
    """End the command where a variable that the destination needs is not set."""
    needs = needed_names(destination)
    alone = replace(
        book,
        secrets={n: places for n, places in book.secrets.items() if n in needs},
        needed_settings={n: places for n, places in book.needed_settings.items() if n in needs},
    )
    if missing := missing_variables(alone, Environment(os.environ)):
        could_not_run(f"{problem.place}: {problem.words}" for problem in missing)


async def _send(
    queued: Sequence[Delivery], destination: Destination, settings: Settings, patience: float
) -> list[TrialResult]:
    workers = RenderPool(template_folders(settings))
    access = Access(
        settings,
        partial(known_secret, Environment(os.environ)),
        # Shorter than the whole timeout, so that the error says which answer did not come.
        smtp_timeouts=SmtpTimeouts().at_most(patience * 0.9),
    )
    try:
        transport = open_transport(destination, access)
        renderer = Renderer(workers, settings.public_url)
        ended = []
        for delivery in queued:
            if sys.stderr.isatty():
                click.echo(f"sending to {delivery.recipient} ...", err=True)
            ended.append(await trial_of(delivery, destination, transport, renderer, patience))
        return ended
    finally:
        await access.close()
        await workers.close()


# -- how it ended --------------------------------------------------------------------------------------------


def _lines(ended: Sequence[TrialResult]) -> Iterator[str]:
    for test in ended:
        ending = click.style(test.ending.value, fg="green" if test.is_good else "red", bold=True)
        yield f"{test.recipient}: {ending} {test.in_words}"
        yield from (f"  {line}" for line in test.cure)
        if test.trouble:
            yield f"  {test.trouble}; {test.sent_instead}"


def _as_json(destination: Destination, ended: Sequence[TrialResult]) -> dict[str, Any]:
    return {
        "destination": destination.name,
        "transport": destination.transport,
        "recipients": [
            {
                "recipient": test.recipient,
                "ending": test.ending.value,
                "detail": test.detail,
                "next": test.next,
                "cure": " ".join(test.cure),
                "trouble": test.trouble,
            }
            for test in ended
        ],
    }

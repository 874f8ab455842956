"""`relay send-test`: one made-up chat to one destination, over the real transport."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from relay.chat import Chat
from relay.cli.opening import RULES, open_rules
from relay.cli.printing import FINE, FOUND, JSON, could_not_run, print_json, print_lines
from relay.delivery.attempt import Told, tell_once
from relay.delivery.renderer import Renderer, what_goes_out
from relay.destination import Destination, Secret
from relay.languages import Languages, language_called, speak
from relay.outbox import Delivery
from relay.rendering.folders import Folders
from relay.rendering.isolation.worker_pool import RenderPool
from relay.rules import Match, RuleBook
from relay.rules.reading.values import BadValue, did_you_mean, listed, quoted
from relay.rules.recipients import address
from relay.runtime.startup import known_secret, missing_variables, settings_of, template_folders
from relay.services.trial_send import as_queued
from relay.settings.environment import Environment
from relay.settings.table import Settings
from relay.smartsupp import read_chat
from relay.transports.email.smtp_client import SmtpTimeouts
from relay.transports.outcome import Ending, Outcome
from relay.transports.registry import TRANSPORTS, Access, cure_of, open_transport

GOOD = {Ending.DELIVERED, Ending.ACCEPTED}
WAITED = timedelta(minutes=3)
"""How long the chat's visitor has waited."""
PATIENCE = 130.0
"""Seconds: a flow of Teams that answers when it has posted may take two minutes."""
TEMPLATE = "missed"


@dataclass(frozen=True, slots=True)
class Sending:
    """What sending a test needs: the destination, the settings, and how many seconds to wait."""

    destination: Destination
    settings: Settings
    patience: float
    needs: Sequence[str]
    """Names of what it relies on in the environment, for whoever has to fix it."""


@click.command()
@click.argument("destination")
@RULES
@click.option("--to", metavar="RECIPIENT", help="Only to this one of its recipients.")
@click.option(
    "--template", metavar="NAME", default=TEMPLATE, show_default=True, help="Whose words to use."
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
    settings, wrong = settings_of(os.environ)
    if wrong:
        could_not_run(wrong)
    book = open_rules(rules)
    sending = _sending(book, destination, settings, timeout)
    folders = template_folders(settings)
    speak(Languages(folders))
    known = Folders(folders).names()
    if template not in known:
        could_not_run([f"there is no template {quoted(template)}; {did_you_mean(template, known)}"])
    queued = _queued(book, sending, template, to)
    ended = asyncio.run(_send(queued, sending))
    if as_json:
        print_json(_as_json(sending, ended))
    else:
        print_lines(_told(sending, ended))
    fine = all(told.outcome.ending in GOOD and not told.trouble for _, told in ended)
    sys.exit(FINE if fine else FOUND)


# -- what is sent, and to whom -------------------------------------------------------------------------------


def _sending(book: RuleBook, name: str, settings: Settings, patience: float) -> Sending:
    found = book.destinations.get(name)
    if found is None:
        hint = did_you_mean(name, book.destinations)
        return could_not_run([f"there is no destination {quoted(name)}; {hint}"])
    spec = TRANSPORTS[found.transport]
    needs = [value.name for value in found.options.values() if isinstance(value, Secret)]
    needs += [need for option in found.options for need in spec.needs.get(option, ())]
    alone = replace(
        book,
        secrets={n: places for n, places in book.secrets.items() if n in needs},
        needed_settings={n: places for n, places in book.needed_settings.items() if n in needs},
    )
    if missing := missing_variables(alone, Environment(os.environ)):
        could_not_run(f"{problem.place}: {problem.words}" for problem in missing)
    return Sending(found, settings, patience, needs)


def _queued(book: RuleBook, sending: Sending, template: str, to: str | None) -> list[Delivery]:
    name, now = sending.destination.name, datetime.now(UTC)
    body = _hook(sending.destination, template, now)
    chat = read_chat(body)
    match = Match(
        rule=f"relay send-test {name}",
        template=template,
        destination=name,
        recipients=_recipients(book, name, chat, to),
    )
    return as_queued(chat, body, [match], sending.settings.mail_domain, now)


def _recipients(book: RuleBook, name: str, chat: Chat, to: str | None) -> tuple[str, ...]:
    """All that do not hang on the chat, or the one that is named. Ends the command where that is nobody."""
    recipients = book.recipients[name]
    fixed = recipients.fixed
    if to is None:
        if not fixed:
            _, left_out = recipients.resolve(chat)
            could_not_run([*left_out, "name a recipient: --to anna@example.com"])
        return fixed
    try:
        wanted = to if to in fixed else address(to)
    except BadValue as bad:
        return could_not_run([f"--to: {bad}"])
    domains = {domain for pattern in recipients.patterns for domain in pattern.domains}
    if chosen := [each for each in fixed if each.casefold() == wanted.casefold()]:
        return tuple(chosen)
    if wanted.rpartition("@")[2] in domains:
        return (wanted,)
    return could_not_run([f"{to} is not a recipient of {name}; there are: {listed(fixed)}"])


def _hook(destination: Destination, template: str, now: datetime) -> bytes:
    """A chat as Smartsupp would tell of it, which says in each place that people read what it is."""
    ended, began = (int(at.timestamp() * 1000) for at in (now, now - WAITED))
    offline, rated = template == "offline", template == "low_rating"
    _ = language_called(destination.language).gettext
    words = _(
        "This is a test: somebody ran `relay send-test {destination}` to see whether it arrives here."
        " There was no such chat, and nobody needs to answer.",
        destination=destination.name,
    )
    channel = {
        "id": f"send-test-{ended}",
        "isMissed": not (offline or rated),
        "isOffline": offline,
        "rating": 1 if rated else None,
        "ratingDesc": words if rated else None,
        "messagesCount": 1,
    }
    said = {"type": "visitor", "content": words, "sentAt": began}
    return json.dumps(
        {
            "accountId": "test",
            "beginAt": began,
            "endAt": ended,
            "channel": channel,
            "visitor": {"name": "TEST (relay send-test)", "note": words},
            "messages": [said],
            "paths": [],
        }
    ).encode()


async def _send(queued: Sequence[Delivery], sending: Sending) -> list[tuple[Delivery, Told]]:
    workers = RenderPool(template_folders(sending.settings))
    access = Access(
        sending.settings,
        partial(known_secret, Environment(os.environ)),
        # Before all patience is at its end: only who waited for an answer can say which one did not come.
        smtp_timeouts=SmtpTimeouts().at_most(sending.patience * 0.9),
    )
    try:
        transport = open_transport(sending.destination, access)
        renderer = Renderer(workers, sending.settings.public_url)
        ended = []
        for delivery in queued:
            if sys.stderr.isatty():
                click.echo(f"sending to {delivery.recipient} ...", err=True)
            attempt = tell_once(
                delivery, sending.destination, transport, renderer, sending.patience
            )
            ended.append((delivery, await attempt))
        return ended
    finally:
        await access.close()
        await workers.close()


# -- how it ended --------------------------------------------------------------------------------------------


def _told(sending: Sending, ended: Sequence[tuple[Delivery, Told]]) -> Iterator[str]:
    for delivery, told in ended:
        colour = "green" if told.outcome.ending in GOOD else "red"
        ending = click.style(told.outcome.ending.value, fg=colour, bold=True)
        yield f"{delivery.recipient}: {ending} ({told.outcome.detail}){_next(sending, told.outcome)}"
        yield from (f"  {line}" for line in _cure(sending, told.outcome))
        if told.trouble:
            yield f"  {told.trouble}; {what_goes_out(told.notification)}"


def _cure(sending: Sending, outcome: Outcome) -> tuple[str, ...]:
    """What to do about it, and the command to run then; nothing after a success."""
    row = None if outcome.ending in GOOD else cure_of(outcome.detail)
    return row.lines(sending.destination.name) if row else ()


def _next(sending: Sending, outcome: Outcome) -> str:
    """What to do now; nothing after a success."""
    after = outcome.after or timedelta(minutes=1)
    words = _NEXT[outcome.ending].format(
        after=f"{after.total_seconds():.0f} s", needs=listed(sending.needs)
    )
    return f": {words}" if words else ""


_NEXT = {
    Ending.DELIVERED: "",
    Ending.ACCEPTED: "look in the channel, this does not prove that it was posted",
    Ending.LATER: "not delivered, for a reason that may pass; try again in a few minutes",
    Ending.RATE_LIMITED: "not delivered; try again after {after}",
    Ending.MAYBE_DELIVERED: "check whether it arrived before you send another one",
    Ending.REFUSED: "not delivered, and it would be refused again; fix what the answer names",
    Ending.DESTINATION_BROKEN: "nothing is delivered there until that is fixed; look at {needs}",
}


def _as_json(sending: Sending, ended: Sequence[tuple[Delivery, Told]]) -> dict[str, Any]:
    return {
        "destination": sending.destination.name,
        "transport": sending.destination.transport,
        "recipients": [
            {
                "recipient": delivery.recipient,
                "ending": told.outcome.ending.value,
                "detail": told.outcome.detail,
                "next": _next(sending, told.outcome).removeprefix(": "),
                "cure": " ".join(_cure(sending, told.outcome)),
                "trouble": told.trouble,
            }
            for delivery, told in ended
        ],
    }

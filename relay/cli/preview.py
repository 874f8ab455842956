"""`relay preview`: what would be sent for a chat, as files that can be opened."""

import asyncio
import os
import shlex
import sys
import webbrowser
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from relay.chat import Chat
from relay.cli.open_outbox import CHAT, open_store
from relay.cli.opening import RULES, open_hook, open_rules
from relay.cli.printing import FINE, FOUND, JSON, could_not_run, counted, print_json, print_lines
from relay.delivery.renderer import what_goes_out
from relay.languages import Languages, speak
from relay.outbox.history import stored_hooks
from relay.preview.preview_page import (
    INDEX,
    LIST,
    SENDER,
    About,
    FolderTaken,
    Shown,
    Written,
    fill,
    index,
    show,
    written,
)
from relay.rules import Match, RuleBook, Verdict
from relay.rules.book import Rule
from relay.rules.reading.values import did_you_mean, quoted
from relay.runtime.startup import overlooked_templates, settings_of, template_folders
from relay.services.trial_send import as_queued
from relay.settings.table import Settings
from relay.smartsupp import UnreadableHook, read_chat


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be shown, with what is to be said of it."""

    matches: Sequence[Match]
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()
    for_nobody: str = ""
    """The name of a rule that is shown, and that is meant to tell nobody."""


@click.command()
@click.argument("file", type=click.File("rb"), metavar="[CHAT.json]", required=False)
@RULES
@click.option("--rule", metavar="NAME", help="Only this rule, even if it does not match.")
@click.option("--destination", metavar="NAME", help="Only what goes to this destination.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("relay-preview"),
    show_default=True,
    help="The folder for the files.",
)
@click.option("--open", "look", is_flag=True, help="Open the page that shows it all in a browser.")
@CHAT
@JSON
def preview(
    file: BinaryIO | None,
    rules: Path | None,
    rule: str | None,
    destination: str | None,
    out: Path,
    *,
    chat: tuple[str, str] | None,
    look: bool,
    as_json: bool,
) -> None:
    """Show what would be sent for a chat, as files to open: mails, posts to Slack and Teams, webhooks, and how they look.

    CHAT.json is a hook as Smartsupp posts it; - reads it from the standard input. RULES is the rules file; without
    it, the one that RELAY_RULES names (rules.yaml). With --chat it is a chat that came in, from the relay's database.

    Nothing is sent, and no secret is needed. The files of an earlier preview in the same folder are replaced; all
    others stay.

    Exit code: 0 fine, 1 no rule matched or a template is broken, 2 it could not run.
    """
    if (file is None) == (chat is None):
        raise click.UsageError("name one of two: CHAT.json, or --chat ACCOUNT/ID")
    body, read = open_hook(file) if file else _stored(chat)
    settings, wrong = settings_of(os.environ)
    if wrong:
        could_not_run(wrong)
    book = open_rules(rules)
    chosen = _only(_choose(book, read, rule), book, destination)
    if not chosen.matches:
        print_lines([*chosen.problems, *_nothing(book, chosen, rule, destination)], err=True)
        sys.exit(FOUND)
    deliveries = _rendered(read, body, chosen, book, settings)
    about = _about(read, chosen, deliveries, settings)
    paths = _fill(out, deliveries, about)
    if as_json:
        print_json(_as_json(about, deliveries, paths))
    else:
        print_lines(_told(about, deliveries, out))
    print_lines(map(_problem, about.problems), err=True)
    if look:
        _look(out / INDEX)
    sys.exit(FOUND if about.problems else FINE)


def _stored(chat: tuple[str, str] | None) -> tuple[bytes, Chat]:
    """The chat as its last hook described it."""
    name = "/".join(chat or ())
    with open_store() as session:
        stored = stored_hooks(session, names=[chat] if chat else ())
    if not stored:
        could_not_run([f"there is no chat {name}; it may have been erased for its age"])
    try:
        last = stored[-1]
        return last.body, read_chat(last.body, last.received_at)
    except UnreadableHook as error:
        could_not_run([f"chat {name} can't be read: {error}"])


# -- what is shown -----------------------------------------------------------------------------------------


def _choose(book: RuleBook, chat: Chat, name: str | None) -> Chosen:
    verdicts = book.explain(chat)
    if name is None:
        held = [verdict for verdict in verdicts if verdict.holds]
        silent = [verdict.rule for verdict in held if _named(book, verdict.rule).for_nobody]
        return Chosen(
            [match for verdict in held for match in verdict.matches],
            problems=[words for verdict in held for words in verdict.left_out],
            for_nobody=silent[0] if silent else "",
        )
    rule = _named(book, name)
    if rule.for_nobody:
        return Chosen((), for_nobody=rule.name)
    verdict = next(each for each in verdicts if each.rule == rule.name)
    if verdict.holds:
        return Chosen(verdict.matches, problems=verdict.left_out)
    matches, left_out = book.if_it_held(rule, chat)
    return Chosen(matches, [_does_not_hold(verdict)], left_out)


def _named(book: RuleBook, name: str) -> Rule:
    for rule in book.rules:
        if rule.name.casefold() == name.strip().casefold():
            return rule
    names = [rule.name for rule in book.rules]
    return could_not_run([f"there is no rule {quoted(name)}; {did_you_mean(name, names)}"])


def _does_not_hold(verdict: Verdict) -> str:
    missing = next((finding for finding in verdict.findings if not finding.holds), None)
    why = f" ({missing})" if missing else f" ({verdict.standing.value})"
    return (
        f"The rule {quoted(verdict.rule)} does not match this chat{why}: nothing would be sent. "
        "This is what it would send if it held."
    )


def _only(chosen: Chosen, book: RuleBook, destination: str | None) -> Chosen:
    if destination is None:
        return chosen
    if destination not in book.destinations:
        hint = did_you_mean(destination, book.destinations)
        could_not_run([f"there is no destination {quoted(destination)}; {hint}"])
    return replace(
        chosen, matches=[match for match in chosen.matches if match.destination == destination]
    )


def _nothing(
    book: RuleBook, chosen: Chosen, rule: str | None, destination: str | None
) -> Iterator[str]:
    """Why there is nothing to show, and how there would be."""
    if destination:
        who = f"the rule {quoted(rule)} sends" if rule else "no rule that holds for this chat sends"
        negation = " nothing" if rule else ""
        yield f"{who}{negation} to {destination}"
        senders = [each.name for each in book.rules if destination in each.send_to]
        if senders and not rule:
            yield _try(senders[0], destination)
    elif chosen.problems:
        yield "nobody is left to send it to"
    elif chosen.for_nobody:
        yield f"the rule {quoted(chosen.for_nobody)} says `send_to: nobody`, so nothing would be sent"
    else:
        yield "no rule matched this chat, so nothing would be sent; `relay explain` says why"
        yield _try(book.rules[0].name)
        yield f"rules: {', '.join(each.name for each in book.rules)}"


def _try(rule: str, destination: str = "") -> str:
    more = f" --destination {shlex.quote(destination)}" if destination else ""
    return f"to see what a rule would send if it held, add: --rule {shlex.quote(rule)}{more}"


def _rendered(
    chat: Chat, body: bytes, chosen: Chosen, book: RuleBook, settings: Settings
) -> list[Written]:
    domain, folders = (settings.mail_from or SENDER).domain, template_folders(settings)
    speak(Languages(folders))
    queued = as_queued(chat, body, chosen.matches, domain, datetime.now(UTC))
    return written(asyncio.run(show(queued, book, settings, folders)))


def _about(chat: Chat, chosen: Chosen, deliveries: Iterable[Written], settings: Settings) -> About:
    shown = [each.shown for each in deliveries]
    notes = list(chosen.notes)
    if settings.mail_from is None and any(each.mails for each in shown):
        notes.append(f"RELAY_MAIL_FROM is not set; {SENDER.address} stands in for the sender.")
    notes += overlooked_templates(settings)
    problems = dict.fromkeys((*chosen.problems, *map(_trouble, shown)))
    problems.pop("", None)
    return About(chat=f"{chat.account}/{chat.id}", notes=notes, problems=list(problems))


def _trouble(one: Shown) -> str:
    if one.told.trouble:
        return f"{one.told.trouble}; {what_goes_out(one.told.notification)}"
    arrived = one.mails or one.posts or one.cards or one.bodies
    return "" if arrived else f"{one.delivery.recipient}: {one.told.outcome.detail}"


# -- what is written and said --------------------------------------------------------------------------------


def _fill(out: Path, deliveries: Sequence[Written], about: About) -> list[Path]:
    files = {name: content for each in deliveries for name, content in each.files.items()}
    files[INDEX] = index(deliveries, about)
    try:
        return fill(out, files, {"chat": about.chat})
    except FolderTaken as taken:
        could_not_run([str(taken)])
    except OSError as error:
        could_not_run([f"{error.filename or out}: can't be written: {error.strerror}"])


def _told(about: About, deliveries: Sequence[Written], out: Path) -> Iterator[str]:
    yield click.style(f"Chat {about.chat}", bold=True)
    for note in about.notes:
        yield f"  {note}"
    for each in deliveries:
        delivery = each.shown.delivery
        to = delivery.destination
        if delivery.recipient != to:
            to = f"{to}, {delivery.recipient}"
        yield ""
        yield f"{delivery.rule} -> {to} ({each.shown.destination.transport})"
        yield from (f"  {out / name}" for name in each.files)
    yield ""
    number = sum(len(each.files) for each in deliveries) + 2
    yield f"{counted(number, 'file')} in {out}, with {LIST} that lists them. Nothing was sent."
    yield f"Look at {(out / INDEX).absolute().as_uri()}"


def _problem(words: str) -> str:
    return f"{click.style('problem', fg='red', bold=True)}: {words}"


def _as_json(about: About, deliveries: Sequence[Written], paths: Sequence[Path]) -> dict[str, Any]:
    by_name = {path.name: str(path) for path in paths}
    return {
        "chat": about.chat,
        "index": by_name[INDEX],
        "notes": list(about.notes),
        "problems": list(about.problems),
        "deliveries": [
            {
                "rule": each.shown.delivery.rule,
                "template": each.shown.delivery.template,
                "destination": each.shown.delivery.destination,
                "transport": each.shown.destination.transport,
                "recipient": each.shown.delivery.recipient,
                "trouble": each.shown.told.trouble,
                "files": [by_name[name] for name in each.files],
            }
            for each in deliveries
        ],
    }


def _look(page: Path) -> None:
    """In the user's browser, where there is one."""
    try:
        opened = webbrowser.open(page.absolute().as_uri())
    except webbrowser.Error:
        opened = False
    if not opened:
        click.echo(f"no browser was found here; open {page} yourself", err=True)

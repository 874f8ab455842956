"""`relay preview`: writes what would be sent for a chat into files."""

import asyncio
import shlex
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from relay.chat import Chat
from relay.cli.open_outbox import CHAT, answer_of, sessions, unknown_name_words
from relay.cli.open_rules import RULES, good_settings, open_hook, open_rules
from relay.cli.printing import FINE, JSON, NOT_FINE, could_not_run, counted, print_json, print_lines
from relay.languages import Languages, speak
from relay.preview.preview_page import INDEX, LIST, FolderTaken, fill
from relay.rules import RuleBook
from relay.rules.reading.value_parsers import quoted
from relay.runtime.startup import template_folders
from relay.services.chat_preview import Preview, preview_chat
from relay.services.find_chats import last_hook
from relay.services.find_deliveries import UnknownName
from relay.smartsupp import UnreadableHook, read_chat


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
        raise click.UsageError("give either CHAT.json or --chat ACCOUNT/ID")
    body, read = open_hook(file) if file else _stored(chat)
    settings = good_settings()
    book = open_rules(rules)
    speak(Languages(template_folders(settings)))
    now = datetime.now(UTC)
    made = asyncio.run(
        preview_chat(read, body, book, settings, rule=rule, destination=destination, now=now)
    )
    if isinstance(made, UnknownName):
        could_not_run([unknown_name_words(made)])
    if not made.deliveries:
        print_lines([*made.about.problems, *_nothing(book, made, rule, destination)], err=True)
        sys.exit(NOT_FINE)
    paths = _fill(out, made)
    if as_json:
        print_json(_as_json(made, paths))
    else:
        print_lines(_lines(made, out))
    print_lines(map(_problem, made.about.problems), err=True)
    if look:
        _look(out / INDEX)
    sys.exit(NOT_FINE if made.about.problems else FINE)


def _stored(chat: tuple[str, str] | None) -> tuple[bytes, Chat]:
    """The bytes and the chat of a stored chat's newest hook."""
    name = "/".join(chat or ())
    last = answer_of(last_hook(sessions(), chat)) if chat else None
    if last is None:
        could_not_run([f"there is no chat {name}; it may have been erased for its age"])
    try:
        return last.body, read_chat(last.body, last.received_at)
    except UnreadableHook as error:
        could_not_run([f"chat {name} can't be read: {error}"])


def _nothing(
    book: RuleBook, made: Preview, rule: str | None, destination: str | None
) -> Iterator[str]:
    """Lines that say why there is nothing to show, and how to see something."""
    if destination:
        who = f"the rule {quoted(rule)} sends" if rule else "no rule that matches this chat sends"
        negation = " nothing" if rule else ""
        yield f"{who}{negation} to {destination}"
        senders = [each.name for each in book.rules if destination in each.send_to]
        if senders and not rule:
            yield _try(senders[0], destination)
    elif made.about.problems:
        yield "nobody is left to send it to"
    elif made.for_nobody:
        yield f"the rule {quoted(made.for_nobody)} says `send_to: nobody`, so nothing would be sent"
    else:
        yield "no rule matched this chat, so nothing would be sent; `relay explain` says why"
        yield _try(book.rules[0].name)
        yield f"rules: {', '.join(each.name for each in book.rules)}"


def _try(rule: str, destination: str = "") -> str:
    more = f" --destination {shlex.quote(destination)}" if destination else ""
    return f"to see what a rule would send if it matched, add: --rule {shlex.quote(rule)}{more}"


# -- what is written and said --------------------------------------------------------------------------------


def _fill(out: Path, made: Preview) -> list[Path]:
    try:
        return fill(out, made.files, {"chat": made.about.chat})
    except FolderTaken as taken:
        could_not_run([str(taken)])
    except OSError as error:
        could_not_run([f"{error.filename or out}: can't be written: {error.strerror}"])


def _lines(made: Preview, out: Path) -> Iterator[str]:
    yield click.style(f"Chat {made.about.chat}", bold=True)
    for note in made.about.notes:
        yield f"  {note}"
    for each in made.deliveries:
        delivery = each.shown.delivery
        to = delivery.destination
        if delivery.recipient != to:
            to = f"{to}, {delivery.recipient}"
        yield ""
        yield f"{delivery.rule} -> {to} ({each.shown.destination.transport})"
        yield from (f"  {out / name}" for name in each.files)
    yield ""
    number = sum(len(each.files) for each in made.deliveries) + 2
    yield f"{counted(number, 'file')} in {out}, with {LIST} that lists them. Nothing was sent."
    yield f"Look at {(out / INDEX).absolute().as_uri()}"


def _problem(words: str) -> str:
    return f"{click.style('problem', fg='red', bold=True)}: {words}"


def _as_json(made: Preview, paths: Sequence[Path]) -> dict[str, Any]:
    by_name = {path.name: str(path) for path in paths}
    return {
        "chat": made.about.chat,
        "index": by_name[INDEX],
        "notes": list(made.about.notes),
        "problems": list(made.about.problems),
        "deliveries": [
            {
                "rule": each.shown.delivery.rule,
                "template": each.shown.delivery.template,
                "destination": each.shown.delivery.destination,
                "transport": each.shown.destination.transport,
                "recipient": each.shown.delivery.recipient,
                "trouble": each.shown.attempt.trouble,
                "files": [by_name[name] for name in each.files],
            }
            for each in made.deliveries
        ],
    }


def _look(page: Path) -> None:
    """Open a page in the user's browser, if there is one."""
    try:
        opened = webbrowser.open(page.absolute().as_uri())
    except webbrowser.Error:
        opened = False
    if not opened:
        click.echo(f"no browser was found here; open {page} yourself", err=True)

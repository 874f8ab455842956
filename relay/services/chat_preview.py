"""`relay preview`: what would be sent for a chat, sent to stand-ins on loopback, as files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from relay.chat import Chat
from relay.delivery.renderer import describe_replacement
from relay.preview.preview_page import INDEX, SENDER, About, Shown, Written, index, show, written
from relay.rules import Match, RuleBook, Verdict
from relay.rules.reading.value_parsers import quoted
from relay.rules.rule_book import Rule
from relay.runtime.startup import overlooked_templates, template_folders
from relay.services.find_deliveries import UnknownName
from relay.services.trial_send import as_queued
from relay.settings.table import Settings


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be sent for a chat."""

    about: About
    deliveries: Sequence[Written] = ()
    """The deliveries that the rules would make; empty where nothing would be sent."""
    for_nobody: str = ""
    """The name of a matching or requested rule with `send_to: nobody`; empty without one."""

    @property
    def files(self) -> dict[str, bytes]:
        """All files by their names, with the page that shows them."""
        files = {name: content for each in self.deliveries for name, content in each.files.items()}
        return {**files, INDEX: index(self.deliveries, self.about)}


async def preview_chat(
    chat: Chat,
    body: bytes,
    book: RuleBook,
    settings: Settings,
    *,
    rule: str | None = None,
    destination: str | None = None,
    now: datetime,
) -> Preview | UnknownName:
    """What would be sent for a chat with the hook `body`. Nothing leaves the computer, and no secret is used.

    `rule`: only what this rule sends, even if it does not match; `destination`: only what is sent there. Returns
    UnknownName where the rules have no such name. `now`: aware.
    """
    only = None
    if rule is not None:
        only = next((r for r in book.rules if r.name.casefold() == rule.strip().casefold()), None)
        if only is None:
            return UnknownName("rule", rule, [each.name for each in book.rules])
    if destination is not None and destination not in book.destinations:
        return UnknownName("destination", destination, [*book.destinations])
    chosen = _of_rule(book, chat, only) if only else _of_all(book, chat)
    matches = [each for each in chosen.matches if destination in {None, each.destination}]
    about = About(chat=f"{chat.account}/{chat.id}", notes=chosen.notes, problems=chosen.problems)
    if not matches:
        return Preview(about, for_nobody=chosen.for_nobody)
    domain = (settings.mail_from or SENDER).domain
    queued = as_queued(chat, body, matches, domain, now)
    shown = await show(queued, book, settings, template_folders(settings))
    return Preview(_with_notes(about, shown, settings), written(shown), chosen.for_nobody)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The matches to show, with notes and problems."""

    matches: Sequence[Match]
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()
    for_nobody: str = ""


def _of_all(book: RuleBook, chat: Chat) -> _Chosen:
    held = [verdict for verdict in book.explain(chat) if verdict.holds]
    for_nobody = {rule.name for rule in book.rules if rule.for_nobody}
    return _Chosen(
        [match for verdict in held for match in verdict.matches],
        problems=[words for verdict in held for words in verdict.left_out],
        for_nobody=next((each.rule for each in held if each.rule in for_nobody), ""),
    )


def _of_rule(book: RuleBook, chat: Chat, rule: Rule) -> _Chosen:
    if rule.for_nobody:
        return _Chosen((), for_nobody=rule.name)
    verdict = next(each for each in book.explain(chat) if each.rule == rule.name)
    if verdict.holds:
        return _Chosen(verdict.matches, problems=verdict.left_out)
    matches, left_out = book.matches_if_held(rule, chat)
    return _Chosen(matches, [_does_not_hold(verdict)], left_out)


def _does_not_hold(verdict: Verdict) -> str:
    missing = next((finding for finding in verdict.findings if not finding.holds), None)
    why = f" ({missing})" if missing else f" ({verdict.standing.value})"
    return (
        f"The rule {quoted(verdict.rule)} does not match this chat{why}: nothing would be sent. "
        "This is what it would send if it matched."
    )


def _with_notes(about: About, shown: Iterable[Shown], settings: Settings) -> About:
    shown, notes = list(shown), list(about.notes)
    if settings.mail_from is None and any(each.mails for each in shown):
        notes.append(f"RELAY_MAIL_FROM is not set; {SENDER.address} stands in for the sender.")
    notes += overlooked_templates(settings)
    problems = dict.fromkeys((*about.problems, *map(_trouble, shown)))
    problems.pop("", None)
    return replace(about, notes=notes, problems=list(problems))


def _trouble(shown: Shown) -> str:
    attempt = shown.attempt
    if attempt.trouble:
        return f"{attempt.trouble}; {describe_replacement(attempt.notification)}"
    return "" if shown.has_arrived else f"{shown.delivery.recipient}: {attempt.outcome.detail}"

"""`relay replay`: stored hooks through the line again, by today's rules."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import click

from relay.cli.open_outbox import CHAT, NUMBER, open_store
from relay.cli.printing import FINE, FOUND, could_not_run, not_there, print_lines
from relay.intake import new_deliveries
from relay.outbox.history import SetAside, StoredHook, hooks_set_aside, stored_hooks
from relay.outbox.requeue import queue_missing, take_in
from relay.outbox.rows import ITSELF, NewDelivery, NewHook
from relay.outbox.session import Session
from relay.rules import judge
from relay.runtime.startup import NotReady, Ready, get_ready
from relay.smartsupp import UnreadableHook, read_chat


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=NUMBER)
@CHAT
@click.option(
    "--set-aside",
    "aside",
    multiple=True,
    type=NUMBER,
    metavar="ID",
    help="A hook that could not be read when it came; may be repeated.",
)
def replay(ids: tuple[int, ...], chat: tuple[str, str] | None, aside: tuple[int, ...]) -> None:
    """Ask today's rules about stored hooks, and queue the deliveries that were not made before.

    ID is a hook's id, as `relay deliveries ID` shows it. What was already sent is not sent again; for that there is
    `relay resend`. The rules are those that RELAY_RULES names.

    Exit code: 0 done, 1 some hooks are not there or still can't be read, 2 could not run.
    """
    if not (ids or chat or aside):
        raise click.UsageError("name hooks by their ids, by --chat or by --set-aside")
    asked = _Asked(_ready(), datetime.now(UTC))
    with open_store(write=True) as session:
        hooks = stored_hooks(session, ids=ids, names=[chat] if chat else ())
        kept = hooks_set_aside(session, ids=aside, limit=len(aside)) if aside else []
        done = [line for hook in hooks for line in asked.replay(session, hook)]
        for each in reversed(kept):
            done += asked.take_in(session, each)
    print_lines(done)
    troubles = [
        *asked.unreadable,
        *not_there("hook", sorted(set(ids) - {hook.id for hook in hooks})),
        *not_there("unreadable post", sorted(set(aside) - {each.id for each in kept})),
    ]
    if chat and not any((hook.account, hook.chat) == chat for hook in hooks):
        troubles.append(f"there is no chat {'/'.join(chat)}; it may be so old that it was erased")
    print_lines(troubles, err=True)
    sys.exit(FOUND if troubles else FINE)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Today's rules, and the moment."""

    ready: Ready
    now: datetime
    unreadable: list[str] = field(default_factory=list)
    """A sentence for each that no rule can be asked about."""

    def replay(self, session: Session, stored: StoredHook) -> Iterable[str]:
        """What is queued, in words."""
        if stored.account == ITSELF:
            self.unreadable.append(
                f"hook {stored.id} is an alert of the relay itself, which no rule is asked about; "
                "`relay resend` sends its deliveries again"
            )
            return ()
        hook = self._hook(stored.body, stored.received_at)
        new = queue_missing(session, stored.id, hook)
        return _told(f"hook {stored.id}", hook, new)

    def take_in(self, session: Session, aside: SetAside) -> Iterable[str]:
        """Keep a hook that was set aside, and queue what today's rules ask for. Returns what is newly queued, in words."""
        try:
            hook = self._hook(aside.body, aside.received_at)
        except UnreadableHook as problem:
            self.unreadable.append(f"unreadable post {aside.id} still can't be read: {problem}")
            return ()
        return _told(f"unreadable post {aside.id}", hook, take_in(session, aside, hook))

    def _hook(self, body: bytes, arrived: datetime) -> NewHook:
        """Raises UnreadableHook."""
        chat, rules = read_chat(body, arrived), self.ready.rules
        judgement = judge(rules, chat)
        return NewHook(
            body=body,
            chat=chat,
            received_at=self.now,
            rules_hash=rules.hash,
            verdicts=judgement.record,
            deliveries=new_deliveries(chat, judgement.matches, self.ready.settings.mail_domain),
        )


def _ready() -> Ready:
    try:
        return get_ready(os.environ)
    except NotReady as error:
        could_not_run(error.problems)


def _told(name: str, hook: NewHook, new: Sequence[NewDelivery]) -> Iterator[str]:
    about = f"{name}, chat {hook.chat.account}/{hook.chat.id}"
    if new:
        yield f"{about}: queued"
    elif hook.deliveries:
        yield f"{about}: nothing new, all deliveries of the matching rules existed before"
    else:
        yield f"{about}: no rule matched"
    for each in new:
        whom = "" if each.recipient == each.destination else f": {each.recipient}"
        yield f"  {each.rule} -> {each.destination}{whom}"

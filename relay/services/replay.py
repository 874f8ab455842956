"""Stored hooks through the line again: today's rules are asked about them, and what was not made before is queued."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from relay.intake import planned_deliveries
from relay.outbox.history import SetAside, StoredHook, hooks_set_aside, stored_hooks
from relay.outbox.requeue import queue_missing, take_in
from relay.outbox.rows import ITSELF, NewDelivery, NewHook
from relay.outbox.session import Session, Sessions
from relay.rules import RuleBook, judge
from relay.services import Progress, in_thread, unwatched
from relay.smartsupp import UnreadableHook, read_chat

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judged:
    """A hook about which today's rules were asked."""

    id: int
    was_set_aside: bool
    """`id` is that of an unreadable post, which can be read by now."""
    hook: NewHook
    """With all deliveries that the rules ask for."""
    queued: list[NewDelivery]
    """The deliveries of the hook that were not made before."""


@dataclass(slots=True)
class Replayed:
    """What became of the hooks that were asked for."""

    judged: list[Judged] = field(default_factory=list)
    """The hooks in the order in which they came, then those that had been set aside."""
    alerts: list[int] = field(default_factory=list)
    """Ids of hooks that are alerts of the relay itself: no rule is asked about them."""
    unreadable: dict[int, str] = field(default_factory=dict)
    """By id, the hooks that this relay can't read, and why; an older one could."""
    still_unreadable: dict[int, str] = field(default_factory=dict)
    """By id, the unreadable posts that are still unreadable, and why."""
    missing: list[int] = field(default_factory=list)
    missing_posts: list[int] = field(default_factory=list)
    missing_chats: list[tuple[str, str]] = field(default_factory=list)


class _NothingDone(Exception):
    """Undoes a transaction."""


async def replay(
    sessions: Sessions,
    rules: RuleBook,
    mail_domain: str,
    *,
    ids: Sequence[int] = (),
    chats: Sequence[tuple[str, str]] = (),
    set_aside: Sequence[int] = (),
    by: str,
    now: datetime,
    dry_run: bool = False,
    progress: Progress = unwatched,
) -> Replayed:
    """Ask the rules about hooks by their ids, about all of some chats, and about unreadable posts by their ids.

    `chats`: of each the account and the id. All is queued in one transaction: if it is cancelled, nothing
    is. `dry_run`: nothing is queued, and what would be is returned. `now`: aware.
    """
    asking = _Asking(rules, mail_domain, now)

    def work(report: Progress) -> Replayed:
        # What would be queued the database knows best: it is done, and undone.
        with suppress(_NothingDone), sessions.writing() as session:
            hooks = stored_hooks(session, ids=ids, names=chats)
            posts = (
                hooks_set_aside(session, ids=set_aside, limit=len(set_aside)) if set_aside else []
            )
            everything: list[StoredHook | SetAside] = [*hooks, *reversed(posts)]
            for number, each in enumerate(everything):
                report(number, len(everything))
                asking.ask(session, each)
            if dry_run:
                raise _NothingDone
        there = {(hook.account, hook.chat) for hook in hooks}
        done = asking.done
        done.missing = sorted(set(ids) - {hook.id for hook in hooks})
        done.missing_posts = sorted(set(set_aside) - {post.id for post in posts})
        done.missing_chats = [name for name in chats if name not in there]
        return done

    done = await in_thread(work, progress)
    for each in () if dry_run else done.judged:
        log.info("%s replays hook %d: %d queued", by, each.id, len(each.queued))
    return done


@dataclass(frozen=True, slots=True)
class _Asking:
    """Today's rules, the moment, and what came of it so far."""

    rules: RuleBook
    mail_domain: str
    now: datetime
    done: Replayed = field(default_factory=Replayed)

    def ask(self, session: Session, stored: StoredHook | SetAside) -> None:
        if isinstance(stored, StoredHook) and stored.account == ITSELF:
            self.done.alerts.append(stored.id)
            return
        try:
            hook = self._judged(stored.body, stored.received_at)
        except UnreadableHook as problem:
            is_kept = isinstance(stored, StoredHook)
            left = self.done.unreadable if is_kept else self.done.still_unreadable
            left[stored.id] = str(problem)
            return
        if isinstance(stored, StoredHook):
            queued = queue_missing(session, stored.id, hook)
        else:
            queued = take_in(session, stored, hook)
        self.done.judged.append(Judged(stored.id, isinstance(stored, SetAside), hook, queued))

    def _judged(self, body: bytes, arrived: datetime) -> NewHook:
        """Raises UnreadableHook."""
        chat = read_chat(body, arrived)
        judgement = judge(self.rules, chat)
        return NewHook(
            body=body,
            chat=chat,
            received_at=self.now,
            rules_hash=self.rules.hash,
            verdicts=judgement.record,
            deliveries=planned_deliveries(
                self.rules, chat, judgement.matches, self.mail_domain, now=self.now
            ),
        )

"""Processes stored hooks again: today's rules are checked, and deliveries that did not exist before are queued."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from relay.intake import planned_deliveries
from relay.outbox.database_session import Session, Sessions
from relay.outbox.delivery_types import ITSELF, NewDelivery, NewHook
from relay.outbox.history import SetAside, StoredHook, hooks_set_aside, stored_hooks
from relay.outbox.requeue import queue_missing, store_set_aside
from relay.rules import RuleBook, judge
from relay.services import Progress, in_thread, unwatched
from relay.smartsupp import UnreadableHook, read_chat

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judged:
    """A hook that was checked by today's rules."""

    id: int
    was_set_aside: bool
    """Whether `id` is that of an unreadable post, which can now be read."""
    hook: NewHook
    """The hook with all deliveries that the rules want."""
    queued: list[NewDelivery]
    """The deliveries that did not exist before."""


@dataclass(slots=True)
class Replayed:
    """The results for the requested hooks."""

    judged: list[Judged] = field(default_factory=list)
    """The hooks, oldest first, then those that had been unreadable."""
    alerts: list[int] = field(default_factory=list)
    """Numbers of hooks that are alerts of the relay itself, to which no rule applies."""
    unreadable: dict[int, str] = field(default_factory=dict)
    """Hooks that this relay can't read, though an older one could: why, by number."""
    still_unreadable: dict[int, str] = field(default_factory=dict)
    """Unreadable posts that still can't be read: why, by number."""
    missing: list[int] = field(default_factory=list)
    missing_posts: list[int] = field(default_factory=list)
    missing_chats: list[tuple[str, str]] = field(default_factory=list)


class _NothingDone(Exception):
    """Raised to roll back a transaction."""


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
    """Check the rules again for some hooks, chats and unreadable posts, and queue new deliveries.

    `ids`: numbers of hooks; `chats`: account and id of each; `set_aside`: numbers of unreadable posts. All is queued
    in one transaction: nothing is if it is cancelled. `dry_run`: nothing is queued, and what would be is returned.
    `now`: aware.
    """
    asking = _Asking(rules, mail_domain, now)

    def work(report: Progress) -> Replayed:
        # A dry run is done for real, and rolled back.
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
        stored = {(hook.account, hook.chat) for hook in hooks}
        done = asking.done
        done.missing = sorted(set(ids) - {hook.id for hook in hooks})
        done.missing_posts = sorted(set(set_aside) - {post.id for post in posts})
        done.missing_chats = [name for name in chats if name not in stored]
        return done

    done = await in_thread(work, progress)
    for each in () if dry_run else done.judged:
        log.info("%s replays hook %d: %d queued", by, each.id, len(each.queued))
    return done


@dataclass(frozen=True, slots=True)
class _Asking:
    """Today's rules, the present time, and the results so far."""

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
            queued = store_set_aside(session, stored, hook)
        self.done.judged.append(Judged(stored.id, isinstance(stored, SetAside), hook, queued))

    def _judged(self, body: bytes, arrived: datetime) -> NewHook:
        """The hook with the deliveries of today's rules. Raises UnreadableHook."""
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

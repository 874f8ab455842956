"""Explains what each rule does with a chat and why: now, or as it was when the chat came in."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from relay.chat import Chat
from relay.intake import planned_matches
from relay.outbox.database_session import Sessions
from relay.outbox.delivery_types import visitor_key
from relay.outbox.history import Record as Delivery
from relay.outbox.history import StoredHook, Wanted, find, stored_hooks
from relay.rules import Finding, Match, Recorded, RuleBook, Standing, Verdict, read_record
from relay.rules.schedule_parser import moment
from relay.services import Progress, in_thread
from relay.smartsupp import UnreadableHook, read_chat
from relay.timing.plan import Mute, Plan
from relay.timing.simulation import PlannedDelivery, Simulation

MOST_NEAREST = 3
MOST_DELIVERIES = 1000
"""How many deliveries of one chat are looked at."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every rule's verdict on a chat, with the result of each of its conditions."""

    chat: Chat
    """The chat as the rules saw it, moved to another time if one was given."""
    book: RuleBook
    verdicts: Sequence[Verdict]
    arrives: datetime
    """When its hook comes in; aware."""
    plans: Sequence[tuple[Match, Plan]] | None
    """When each destination is notified; None where all are notified at once at any time."""
    mutes: Sequence[Mute] = ()
    """The mutes of the rules file; a plan refers to one by its number."""


def explain(
    book: RuleBook, chat: Chat, at: str = "", arrives: str = "", *, now: datetime
) -> Explanation:
    """Every rule's verdict on a chat, and when its notifications are sent.

    `at`: as if the chat had begun then. `arrives`: as if its hook came in then, by default at the chat's end, or
    `now`. Both are parsed by `moment`, in the rules' zone. Raises BadValue where they are no times.
    """
    if at:
        chat = moved(chat, moment(at, book.timezone, chat.began))
    came = chat.ended or chat.began or now
    if arrives:
        came = moment(arrives, book.timezone, came)
    verdicts = book.explain(chat)
    matches = [match for verdict in verdicts for match in verdict.matches]
    timed = book.mutes or any(match.once_per for match in matches)
    if not timed and not any(book.destinations[each.destination].timing.waits for each in matches):
        return Explanation(chat, book, verdicts, came, None)
    mutes = [replace(mute, id=number) for number, mute in enumerate(book.mutes, 1)]
    plans = planned_matches(book, chat, matches, mutes=mutes, now=came)
    return Explanation(chat, book, verdicts, came, tuple(plans), mutes)


def arrive(
    simulation: Simulation,
    book: RuleBook,
    chat: Chat,
    matches: Sequence[Match],
    *,
    arrived: datetime,
    name: str,
) -> None:
    """Add a chat with these matches to the simulation; `name` identifies the chat."""
    for match, plan in planned_matches(book, chat, matches, mutes=book.mutes, now=arrived):
        for recipient in match.recipients:
            simulation.add(
                PlannedDelivery(
                    chat=name,
                    # An unknown visitor is nobody else.
                    visitor=visitor_key(chat.visitor) or name,
                    rule=match.rule,
                    destination=match.destination,
                    recipient=recipient,
                    arrived=arrived,
                    plan=plan,
                    timing=book.destinations[match.destination].timing,
                    once_per=match.once_per,
                )
            )


def moved(chat: Chat, began: datetime) -> Chat:
    """The chat as if it had begun at `began`, with all its times shifted.

    Rules do not use the clock: a schedule is compared with the chat's own times, so that a chat gets the same result
    at any time. To ask about another time, the whole chat is moved there.
    """
    if chat.began is None:
        return replace(chat, began=began, ended=_shifted(began, chat.duration or timedelta(0)))
    by = began - chat.began
    return replace(
        chat,
        began=began,
        ended=_shifted(chat.ended, by),
        messages=tuple(replace(each, sent_at=_shifted(each.sent_at, by)) for each in chat.messages),
    )


def _shifted(instant: datetime | None, by: timedelta) -> datetime | None:
    try:
        return instant and instant + by
    except OverflowError:  # past the last day of the calendar
        return None


@dataclass(frozen=True, slots=True)
class Miss:
    """A rule that does not match, with the conditions that failed."""

    rule: str
    findings: tuple[Finding, ...]


def misses(verdicts: Sequence[Verdict]) -> list[Miss]:
    """The rules that were checked and do not match, in their order."""
    return [
        Miss(verdict.rule, tuple(each for each in verdict.findings if not each.holds))
        for verdict in verdicts
        if verdict.standing is Standing.FAILS
    ]


def nearest_misses(verdicts: Sequence[Verdict]) -> list[Miss]:
    """The rules that fail by the fewest conditions, but not by all that they have; at most three."""
    all_misses = misses(verdicts)
    counts = {each.rule: len(each.findings) for each in verdicts}
    nearest = [each for each in all_misses if 0 < len(each.findings) < max(2, counts[each.rule])]
    fewest = min((len(each.findings) for each in nearest), default=0)
    return [each for each in nearest if len(each.findings) == fewest][:MOST_NEAREST]


@dataclass(frozen=True, slots=True)
class PastExplanation:
    """A stored hook, with the verdicts of the rules when it came in."""

    hook: StoredHook
    record: Recorded | None
    """The stored verdicts; None where the rules could not be checked."""
    waited: Sequence[Delivery] = ()
    """The hook's deliveries that were not sent at once."""


@dataclass(frozen=True, slots=True)
class ComparedVerdict:
    """A rule's verdicts on one hook: when it came in, and by today's rules."""

    rule: str
    then: Verdict | None
    """The stored verdict; None where the rule did not exist, or its verdict was not stored."""
    today: Verdict | None
    """The verdict by today's rules; None where the rule does not exist any more."""

    @property
    def differs(self) -> bool:
        """Whether the rule matched then and does not today, or the other way round."""
        return (self.then is not None and self.then.holds) != (
            self.today is not None and self.today.holds
        )


@dataclass(frozen=True, slots=True)
class ComparedVerdicts:
    """The stored verdicts on a hook beside those by today's rules."""

    rules: Sequence[ComparedVerdict]
    """The rules, in the order of today's rules, then rules that do not exist any more."""
    left_out: int
    """How many rules did not match then and have no stored verdict."""
    trouble: str
    """Why there are no verdicts of today; empty as a rule."""


async def compare_verdicts(
    hook: StoredHook, today: RuleBook, past_rules: Callable[[], RuleBook | None]
) -> ComparedVerdicts:
    """The stored verdicts on a hook beside those by the rules of `today`.

    `past_rules`: reads the rules by which it was checked then, if known, in a thread; they are checked again where not all
    verdicts were stored.
    """
    return await in_thread(lambda _: _compared(hook, today, past_rules))


def _compared(
    hook: StoredHook, today: RuleBook, past_rules: Callable[[], RuleBook | None]
) -> ComparedVerdicts:
    recorded, trouble = Recorded((), 0), ""
    with suppress(ValueError):  # the rules could not be checked
        recorded = read_record(hook.verdicts)
    now: Sequence[Verdict] = ()
    try:
        chat = read_chat(hook.body, hook.received_at)
        now = today.explain(chat)
        if recorded.left_out and (rules := past_rules()):
            recorded = Recorded(tuple(rules.explain(chat)), 0)
    except UnreadableHook as error:
        trouble = str(error)
    then_by, now_by = ({each.rule: each for each in side} for side in (recorded.verdicts, now))
    names = dict.fromkeys((*now_by, *then_by))
    compared = [ComparedVerdict(name, then_by.get(name), now_by.get(name)) for name in names]
    return ComparedVerdicts(compared, recorded.left_out, trouble)


async def past_explanations(sessions: Sessions, account: str, chat: str) -> list[PastExplanation]:
    """An explanation for each hook of a chat, oldest first; none where there is no such chat.

    Raises StorageRefused and StorageUnavailable.
    """

    def work(_: Progress) -> list[PastExplanation]:
        with sessions.reading() as session:
            hooks = stored_hooks(session, names=[(account, chat)])
            wanted = Wanted(chats=[(account, chat)])
            later = [each for each in find(session, wanted, limit=MOST_DELIVERIES) if each.why]
        return [
            PastExplanation(
                hook,
                read_record(hook.verdicts) if hook.verdicts else None,
                [each for each in later if each.hook_id == hook.id],
            )
            for hook in hooks
        ]

    return await in_thread(work)

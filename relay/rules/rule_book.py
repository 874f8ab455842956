"""The rules of a rules file and their evaluation for a chat, without access to files, clock or network."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from relay.chat import Chat
from relay.destination import Destination
from relay.rules.compared_values import ChatView, TimeLimit
from relay.rules.conditions import Condition, Finding, findings
from relay.rules.reading.problem import Place, Problem
from relay.rules.recipients import Recipients
from relay.timing.plan import Mute, OncePer
from relay.timing.schedule import Schedule, Silence


class Match(Struct, frozen=True, kw_only=True):
    """A rule that matched a chat, with one of its destinations."""

    rule: str
    template: str
    destination: str
    recipients: tuple[str, ...]
    """Email addresses; for a transport without addresses, the destination's name."""
    instead_of: str = ""
    """The destination that the rule names, if nobody can be reached there and this is its fallback; else empty."""
    urgent: bool = False
    """Whether the message ignores the destination's hours, digests and limits."""
    once_per: OncePer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of the rules file."""

    name: str
    conditions: tuple[Condition, ...]
    """The conditions, which a chat must all meet."""
    send_to: tuple[str, ...]
    """The names of the destinations; empty for `send_to: nobody`."""
    template: str = "chat"
    enabled: bool = True
    stop: bool = False
    urgent: bool = False
    """Whether the rule's messages ignore the destinations' hours, digests and limits."""
    once_per: OncePer | None = None
    """How often the rule may notify of one visitor; None means of every chat."""
    place: Place

    @property
    def for_nobody(self) -> bool:
        """Whether the rule has no destinations on purpose; with `stop`, it keeps chats from later rules."""
        return not self.send_to

    def holds(self, view: ChatView) -> bool:
        """Whether the chat meets all conditions of the rule. Raises OutOfTime."""
        for condition in self.conditions:  # noqa: SIM110 - see conditions.All
            if not condition.holds(view):
                return False
        return True


def urgent_and_muted(rules: Iterable[Rule], mute: Mute) -> list[str]:
    """Return the names of the urgent rules that a mute affects only if it sets `urgent_too`."""
    return [
        rule.name
        for rule in rules
        if rule.urgent
        and rule.enabled
        and not mute.rule
        and (mute.destination in rule.send_to or (not mute.destination and rule.send_to))
    ]


class Standing(StrEnum):
    """The result of a rule for one chat."""

    HOLDS = "yes"
    FAILS = "no"
    OFF = "turned off"
    NOT_ASKED = "not asked"
    """Not evaluated, because an earlier rule matched and has `stop`."""


class Verdict(Struct, frozen=True, kw_only=True):
    """The result of one rule for one chat, with the finding of each condition."""

    rule: str
    standing: Standing
    findings: tuple[Finding, ...] = ()
    """The findings; empty for a rule that is turned off or was not evaluated."""
    matches: tuple[Match, ...] = ()
    left_out: tuple[str, ...] = ()
    """A sentence for each recipient that can't be used for this chat; it may contain the visitor's words."""
    unreached: tuple[str, ...] = ()
    """The rule's destinations at which nobody can be reached for this chat. Not stored in records."""
    reaches_nobody: bool = False
    """Whether the rule matched but nobody gets a message, not even at a fallback, although the rule has destinations.
    """
    stops: bool = False
    """Whether the rule matched and keeps the chat from later rules."""
    stopped_by: str = ""

    @property
    def holds(self) -> bool:
        """Whether the rule matches the chat."""
        return self.standing is Standing.HOLDS


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """A valid rules file, ready to evaluate chats."""

    rules: tuple[Rule, ...]
    destinations: Mapping[str, Destination]
    recipients: Mapping[str, Recipients]
    """The recipients of each destination, by its name."""
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    language: str = "en"
    alerts_to: tuple[str, ...] = ()
    """The destinations that get alerts about the relay itself."""
    last_holidays: Mapping[str, date] = field(default_factory=dict)
    """The last known holiday of each region that a schedule uses (`CZ`, `DE-BY`)."""
    silence: Silence | None = None
    mutes: tuple[Mute, ...] = ()
    """The mutes of the file, with the number 0: the database assigns the numbers."""
    mute_conditions: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    """The parsed conditions of mutes, by the text in `Mute.when`."""
    schedule_places: Mapping[str, Place] = field(default_factory=dict)
    """The place of each schedule in the file."""
    warnings: tuple[Problem, ...] = ()
    hash: str = ""
    """The SHA-256 of the file's bytes, in hex."""
    seconds: float = 0
    """The most seconds that one condition takes for each byte of a hook."""
    secrets: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    """Each `$NAME` in the file, with the places where it is used."""
    needed_settings: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    """The settings that the destinations' transports require, with the options that need them."""

    def matches(self, chat: Chat) -> tuple[Match, ...]:
        """Return the matches of a chat: each matching rule with each of its destinations, in the order of the file."""
        return self.matches_view(ChatView(chat))

    def matches_view(self, view: ChatView) -> tuple[Match, ...]:
        """Return the matches of a chat, given as its view, which several versions of rules may share."""
        return tuple([match for _, matches in self.held_view(view) for match in matches])

    def held_view(self, view: ChatView) -> Iterator[tuple[Rule, tuple[Match, ...]]]:
        """Yield the rules that match, in the order of the file, each with its matches."""
        # Looked up once: in Python 3.11 it takes as long as a short rule.
        holds = Standing.HOLDS
        for rule, standing, _, reach in self._evaluate(view):
            if standing is holds:
                yield rule, reach.matches

    def verdicts_where_possible(
        self, view: ChatView, limit: Callable[[], TimeLimit]
    ) -> tuple[tuple[Verdict, ...], tuple[str, ...]]:
        """Evaluate each rule separately, for a chat for which evaluating all rules failed.

        Returns the verdicts of the matching rules, without findings, and the names of the rules
        that failed. `limit` creates the time limit of each rule.
        """
        verdicts: list[Verdict] = []
        failed: list[str] = []
        for rule in self.rules:
            view.time.limit = limit()
            try:
                if rule.enabled and rule.holds(view):
                    verdicts.append(_verdict(rule, Standing.HOLDS, "", self._reach(rule, view)))
            except Exception:  # noqa: BLE001 - out of time, or a bug of ours; the caller has it in the log
                failed.append(rule.name)
            if verdicts and verdicts[-1].stops:
                break
        return tuple(verdicts), tuple(failed)

    def meets(self, when: str, chat: Chat) -> bool:
        """Whether a chat meets the condition of a mute; False if the file has no mute with this condition."""
        conditions = self.mute_conditions.get(when)
        view = ChatView(chat)
        return conditions is not None and all(each.holds(view) for each in conditions)

    def matches_if_held(self, rule: Rule, chat: Chat) -> tuple[tuple[Match, ...], tuple[str, ...]]:
        """Return the matches that a rule would have, and a sentence for each recipient that can't be used."""
        reach = self._reach(rule, ChatView(chat))
        return reach.matches, reach.left_out

    def explain(self, chat: Chat) -> tuple[Verdict, ...]:
        """Return the verdict of every rule for a chat, in the order of the file."""
        return self.explain_view(ChatView(chat))

    def explain_view(self, view: ChatView, *, only_held: bool = False) -> tuple[Verdict, ...]:
        """Return the verdicts for a chat's view; `only_held` omits the rules that don't match."""
        holds = Standing.HOLDS
        return tuple(
            [
                _verdict(rule, standing, by, reach, self._findings(rule, standing, view))
                for rule, standing, by, reach in self._evaluate(view)
                if standing is holds or not only_held
            ]
        )

    def reach(self, name: str, view: ChatView) -> tuple[str, tuple[str, ...], list[str]]:
        """Return the destination for a message to `name`, its recipients, and a sentence for each unusable one.

        It is the named destination, or the first of its fallbacks that has recipients. The
        recipients are empty if there is none.
        """
        addresses, left_out = self.recipients[name].resolve_view(view)
        words = [f"{name}: {each}" for each in left_out]
        fallback = self.destinations[name].fallback
        if addresses or not fallback:
            return name, addresses, words
        name, addresses, more = self.reach(fallback, view)
        return name, addresses, words + more

    def _evaluate(self, view: ChatView) -> Iterator[tuple[Rule, Standing, str, "_Reach"]]:
        """Evaluate the rules: yield each rule, its result, the rule that stopped it, and whom it reaches."""
        stopped_by = ""
        fails = Standing.FAILS  # the result of most rules; see held_view
        limit = None  # the first rule is evaluated in any case
        for rule in self.rules:
            if limit is not None:
                limit.check()
            if not rule.enabled:
                yield rule, Standing.OFF, "", _NOBODY
            elif stopped_by:
                yield rule, Standing.NOT_ASKED, stopped_by, _NOBODY
            elif rule.holds(view):
                reach = self._reach(rule, view)
                yield rule, Standing.HOLDS, "", reach
                stopped_by = rule.name if _stops(rule, reach) else ""
            else:
                yield rule, fails, "", _NOBODY
            limit = view.time.limit

    def _findings(self, rule: Rule, standing: Standing, view: ChatView) -> tuple[Finding, ...]:
        if standing in {Standing.OFF, Standing.NOT_ASKED}:
            return ()
        return findings(rule.conditions, view, self.timezone)

    def _reach(self, rule: Rule, view: ChatView) -> "_Reach":
        matches: dict[str, Match] = {}
        left_out: list[str] = []
        unreached: list[str] = []
        for name in rule.send_to:
            place, addresses, words = self.reach(name, view)
            left_out += words
            if place != name or not addresses:
                unreached.append(name)
            # A fallback that the rule also names gets the message as itself.
            if not addresses or (place != name and place in (*rule.send_to, *matches)):
                continue
            matches[place] = Match(
                rule=rule.name,
                template=rule.template,
                destination=place,
                recipients=addresses,
                instead_of=name if place != name else "",
                urgent=rule.urgent,
                once_per=rule.once_per,
            )
        return _Reach(tuple(matches.values()), tuple(left_out), tuple(unreached))


class _Reach(NamedTuple):
    """The destinations and recipients that a rule reaches for a chat."""

    matches: tuple[Match, ...]
    left_out: tuple[str, ...]
    unreached: tuple[str, ...]


_NOBODY = _Reach((), (), ())


def _stops(rule: Rule, reach: _Reach) -> bool:
    """Whether a matching rule keeps the chat from later rules."""
    return rule.stop and (rule.for_nobody or bool(reach.matches))


def _verdict(
    rule: Rule, standing: Standing, by: str, reach: _Reach, findings: tuple[Finding, ...] = ()
) -> Verdict:
    return Verdict(
        rule=rule.name,
        standing=standing,
        findings=findings,
        matches=reach.matches,
        left_out=reach.left_out,
        unreached=reach.unreached,
        reaches_nobody=standing is Standing.HOLDS and not (reach.matches or rule.for_nobody),
        stops=standing is Standing.HOLDS and _stops(rule, reach),
        stopped_by=by,
    )

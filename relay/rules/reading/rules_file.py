"""Reads a rules file into a RuleBook, or reports every problem in it at once."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from zoneinfo import ZoneInfo

from relay.destination import TransportSpec
from relay.files import read_file
from relay.languages import LANGUAGES
from relay.rules.reading import holidays_file
from relay.rules.reading.destination_reader import Defaults, Entry, language, read_destinations
from relay.rules.reading.mute_reader import read_mutes, refuse_undecided_urgent
from relay.rules.reading.node_reader import (
    Reading,
    as_table,
    as_texts,
    check_keys,
    check_name,
    known_name,
    long_duration,
    parsed,
    root_table,
    timezone,
)
from relay.rules.reading.problem import (
    Place,
    Problem,
    Problems,
    RulesError,
    TooManyProblems,
    UnreadableRules,
)
from relay.rules.reading.rule_reader import RuleReader, warn_of_unreachable
from relay.rules.reading.timing_reader import read_schedule
from relay.rules.reading.value_parsers import shown
from relay.rules.reading.yaml_document import (
    MAX_BYTES,
    Node,
    Table,
    Text,
    Unreadable,
)
from relay.rules.recipients import domain
from relay.rules.rule_book import Rule, RuleBook
from relay.timing.schedule import Schedule, Silence

_SILENCE = "how long no chat may come in, such as {longer_than: 4h, within: office}"
_NO_ALERTS = "if nobody is to get alerts, leave `alerts_to:` out"
_ONLY_CHOSEN = "name a destination with an address of its own"


def read_alerts_to(
    reading: Reading, node: Node | None, named: Mapping[str, object], entries: Mapping[str, Entry]
) -> tuple[str, ...]:
    """Return the valid names in `alerts_to:`. `named` has all destinations of the file, `entries` the valid ones."""
    problems = reading.problems
    names = []
    for text in as_texts(problems, node, "the name of a destination or a list of them"):
        if not known_name(problems, text, named, "destination", _NO_ALERTS):
            continue
        if text.value in entries and not entries[text.value].recipients.fixed:
            message = f"the chat chooses all recipients of {shown(text.value)}, and an alert is about no chat"
            problems.error(text, message, _ONLY_CHOSEN)
        names.append(text.value)
    return tuple(dict.fromkeys(names))


def read_silence(
    reading: Reading, node: Node | None, always: Schedule, *, has_alerts: bool
) -> Silence | None:
    """Return the `silence:` of the file; None if it has none, or after noting a problem.

    `always` is the schedule to use if none is named.
    """
    problems = reading.problems
    table = as_table(problems, node, _SILENCE)
    if table is None:
        return None
    check_keys(problems, table, ("longer_than", "within"), "under silence")
    within = _schedules(reading, table.nodes.get("within"))
    if "longer_than" not in table.entries:
        problems.error(table, "`silence:` does not say how long", "write longer_than: 4h")
    elif not has_alerts:
        problems.error(table, "nobody would be told about a silence", "write alerts_to: as well")
    why = "every pause between two chats would be a silence"
    longer = long_duration(problems, table.nodes.get("longer_than"), "4h", why)
    return Silence(longer_than=longer, within=within or (always,)) if longer else None


def _schedules(reading: Reading, node: Node | None) -> tuple[Schedule, ...]:
    schedules = {}
    for name in as_texts(reading.problems, node, "the name of a schedule or a list of them"):
        reading.used_schedules.add(name.value)
        if known_name(reading.problems, name, reading.schedules, "schedule"):
            schedules[name.value] = reading.schedules[name.value]
    return tuple(schedules.values())


T = TypeVar("T")

_KEYS = (
    *("timezone", "language", "recipient_domains", "schedules", "destinations"),
    *("alerts_to", "silence", "rules", "mutes"),
)
_PARTS = "`rules:` and `destinations:`"
_START = "rules.example.yaml shows how one begins"


def read_bytes(
    path: Path,
    hint: str = "RELAY_RULES names the rules file, `relay init` writes one to begin with",
) -> bytes:
    """Return the bytes of a rules file, at most one more than the limit. Raises UnreadableRules."""
    try:
        return read_file(path, MAX_BYTES)
    except FileNotFoundError:
        problem = _about_file(path, "there is no such file", hint)
    except OSError as error:
        problem = _about_file(path, f"the file can't be read: {error.strerror or error}")
    raise UnreadableRules([problem])


def _about_file(path: Path, message: str, hint: str = "") -> Problem:
    return Problem(path=str(path), line=0, column=0, message=message, hint=hint)


def read_rules(
    source: bytes,
    name: str,
    *,
    transports: Mapping[str, TransportSpec],
    templates: Collection[str],
    languages: Collection[str] = LANGUAGES,
    holidays: holidays_file.Read = dict,
) -> RuleBook:
    """Return the rules in a file's bytes; problems name the file `name`. Raises RulesError with all problems."""
    problems = Problems(name)
    try:
        if table := root_table(problems, source, _PARTS, _START, if_empty=_START):
            digest = hashlib.sha256(source).hexdigest()
            book = _Reader(problems, table, holidays).book(transports, templates, languages, digest)
            if not problems.errors:
                return book
    except Unreadable:
        pass  # the problem is noted
    except TooManyProblems:
        raise problems.cut_short(source, "fix these problems first") from None
    raise RulesError(problems.errors, source)


class _Reader:
    """Reads one document, part by part; later parts use the names of earlier ones."""

    def __init__(self, problems: Problems, table: Table, holidays: holidays_file.Read) -> None:
        self._problems = problems
        self._reading = Reading(problems)
        self._holidays = cache(holidays)
        self._last_holidays: dict[str, date] = {}
        self._table = table
        self._nodes = table.nodes

    def book(
        self,
        transports: Mapping[str, TransportSpec],
        templates: Collection[str],
        languages: Collection[str],
        digest: str,
    ) -> RuleBook:
        check_keys(self._problems, self._table, _KEYS, "at the top of the file")
        defaults = self._defaults(languages)
        self._read_schedules(defaults.timezone)
        places = as_table(self._problems, self._nodes.get("destinations"), "destinations by name")
        entries = read_destinations(self._reading, places, transports, defaults)
        named = places.entries if places else {}
        alerts_to = read_alerts_to(self._reading, self._nodes.get("alerts_to"), named, entries)
        silence = read_silence(
            self._reading,
            self._nodes.get("silence"),
            Schedule(name="", zone=defaults.timezone),
            has_alerts="alerts_to" in self._nodes,
        )
        rules = self._rules(named, templates)
        mutes = read_mutes(
            self._reading,
            self._nodes.get("mutes"),
            defaults.timezone,
            {rule.name: rule for rule in rules},
            named,
        )
        self._warn(rules, entries, alerts_to)
        refuse_undecided_urgent(self._problems, rules, mutes)
        book = _book(self._reading, rules, entries, defaults, digest)
        return replace(
            book,
            alerts_to=alerts_to,
            silence=silence,
            last_holidays=_frozen(self._last_holidays.items()),
            mutes=tuple(mute.mute for mute in mutes),
            mute_conditions=_frozen(
                (mute.mute.when, mute.conditions) for mute in mutes if mute.mute.when
            ),
            schedule_places=_frozen(
                (name.value, self._problems.place(name)) for name, _ in self._named("schedules")
            ),
        )

    def _defaults(self, languages: Collection[str]) -> Defaults:
        return Defaults(
            language=language(self._problems, self._nodes.get("language"), languages, "en"),
            timezone=timezone(self._problems, self._nodes.get("timezone"), ZoneInfo("UTC")),
            languages=languages,
            domains=self._domains(),
        )

    def _named(self, key: str) -> Iterable[tuple[Text, Node]]:
        part = self._nodes.get(key)
        return part.entries.values() if isinstance(part, Table) else ()

    def _read_schedules(self, zone: ZoneInfo) -> None:
        part = as_table(self._problems, self._nodes.get("schedules"), "schedules")
        for name, node in part.entries.values() if part else ():
            check_name(self._problems, name, "schedule")
            table = as_table(self._problems, node, _SCHEDULE)
            # Named even if it is invalid, so that the rules that use it cause no further problems.
            self._reading.schedules[name.value] = (
                read_schedule(self._problems, name.value, table, zone, self._holidays_of)
                if table
                else Schedule(name=name.value, zone=zone)
            )

    def _domains(self) -> frozenset[str]:
        node = self._nodes.get("recipient_domains")
        texts = as_texts(self._problems, node, "a domain or a list of them")
        names = (parsed(self._problems, text, domain) for text in texts)
        return frozenset(name for name in names if name)

    def _holidays_of(self, region: str) -> Collection[date]:
        days = holidays_file.days_of(self._holidays(), region)
        self._last_holidays[region] = max(days)
        return days

    def _rules(
        self, destinations: Mapping[str, object], templates: Collection[str]
    ) -> tuple[Rule, ...]:
        if "rules" not in self._nodes:
            self._problems.error(self._table, "the file has no `rules:`", _START)
        return RuleReader(self._reading, destinations, templates).read(self._nodes.get("rules"))

    def _warn(
        self, rules: tuple[Rule, ...], entries: Mapping[str, Entry], alerts_to: Collection[str]
    ) -> None:
        if not rules:
            self._problems.warning(self._table, "there are no rules: nothing will be sent")
            return
        if not self._problems.errors:
            warn_of_unreachable(self._reading, rules)
        for schedule, _ in self._named("schedules"):
            if schedule.value not in self._reading.used_schedules:
                self._problems.warning(
                    schedule, f"no rule uses the schedule {shown(schedule.value)}"
                )
        used = {name for rule in rules for name in rule.send_to} | {*alerts_to}
        for entry in entries.values():
            used |= {entry.destination.fallback, entry.destination.timing.instead}
        for name, entry in entries.items():
            if name not in used:
                self._problems.warning(entry.key, f"no rule sends to {shown(name)}")


_SCHEDULE = "a schedule such as {days: mon-fri, hours: 08:00-17:00}"


def _book(
    reading: Reading,
    rules: tuple[Rule, ...],
    entries: Mapping[str, Entry],
    defaults: Defaults,
    digest: str,
) -> RuleBook:
    return RuleBook(
        rules=rules,
        destinations=_frozen((name, entry.destination) for name, entry in entries.items()),
        recipients=_frozen((name, entry.recipients) for name, entry in entries.items()),
        schedules=_frozen(reading.schedules.items()),
        timezone=defaults.timezone,
        language=defaults.language,
        warnings=reading.problems.warnings,
        hash=digest,
        seconds=reading.seconds,
        secrets=_places(entry.options.secrets for entry in entries.values()),
        needed_settings=_places(entry.options.settings for entry in entries.values()),
    )


def _frozen(items: Iterable[tuple[str, T]]) -> Mapping[str, T]:
    return MappingProxyType(dict(items))


def _places(groups: Iterable[list[tuple[str, Place]]]) -> Mapping[str, tuple[Place, ...]]:
    places: dict[str, tuple[Place, ...]] = {}
    for pairs in groups:
        for name, place in pairs:
            places[name] = (*places.get(name, ()), place)
    return MappingProxyType(places)

"""Names of rules and destinations that a person may have meant: those of the rules file, and those of the history."""

import os
from collections.abc import Iterable

import sqlalchemy as sa

from relay.languages import Languages
from relay.outbox.schema import deliveries
from relay.outbox.session import Session
from relay.rules import RulesError, load_rules
from relay.rules.reading.values import did_you_mean, quoted
from relay.runtime.startup import settings_of, template_folders, template_names
from relay.transports.registry import TRANSPORTS


def objections(session: Session, *, rule: str = "", destination: str = "") -> list[str]:
    """A sentence, with the nearest names, for each of the two that is given and that nothing has that name."""
    rules, destinations = _of_the_rules_file()
    asked = (
        ("rule", rule, rules, deliveries.c.rule),
        ("destination", destination, destinations, deliveries.c.destination),
    )
    found = []
    for kind, name, in_file, column in asked:
        if name and name not in in_file:
            past = session.ask(sa.select(column).distinct()).fetchall()
            known = [*in_file, *sorted({each for (each,) in past} - {*in_file})]
            if name not in known:
                found.append(f"there is no {kind} {quoted(name)}; {did_you_mean(name, known)}")
    return found


def _of_the_rules_file() -> tuple[Iterable[str], Iterable[str]]:
    """Of its rules and of its destinations; none where it can't be used."""
    settings, _ = settings_of(os.environ)
    folders = template_folders(settings)
    try:
        book = load_rules(
            settings.rules,
            transports=TRANSPORTS,
            templates=template_names(folders),
            languages=Languages(folders).names,
        )
    except RulesError:
        return (), ()
    return [rule.name for rule in book.rules], list(book.destinations)

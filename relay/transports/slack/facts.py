"""Facts as Slack's blocks: short ones in two columns, a long one over the whole width."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from relay.notification import Fact
from relay.text import clean_line
from relay.transports.slack.elements import (
    MAX_SECTION,
    Json,
    bold,
    escape,
    paragraph,
    plain,
    shortened,
    width,
)

MAX_FACTS = 20
MAX_FACT = 300
MAX_LABEL = 60
MAX_SHORT = 60
"""Of a value that stands in a column."""
PER_SECTION = 5
"""Slack takes ten fields: label and value are one each."""
_STYLING = re.compile(r"[*_~`]")


def fact_blocks(facts: Sequence[Fact]) -> list[Json]:
    """As many as one block's room pays for, in their order."""
    blocks: list[Json] = []
    for short, run in groupby(_told(facts[:MAX_FACTS]), lambda told: width(told[1]) <= MAX_SHORT):
        together = list(run)
        if short:
            blocks += [
                _columns(together[place : place + PER_SECTION])
                for place in range(0, len(together), PER_SECTION)
            ]
        else:
            blocks += [block for told in together for block in _line(*told)]
    return blocks


def _told(facts: Iterable[Fact]) -> Iterator[tuple[str, str]]:
    room = MAX_SECTION
    for fact in facts:
        label = clean_line(fact.label, MAX_LABEL) or "-"
        value = shortened(fact.value, MAX_FACT) or "-"
        room -= width(label) + width(value) + 4
        if room < 0:
            return
        yield label, value


def _columns(facts: Iterable[tuple[str, str]]) -> Json:
    """The label is bold, which only mrkdwn can be: it loses every sign that means something there.

    The value is plain_text, in which Slack reads no markup.
    """
    fields: list[Json] = []
    for label, value in facts:
        name = clean_line(_STYLING.sub(" ", label)) or "-"
        fields += [
            {"type": "mrkdwn", "text": f"*{escape(name)}*", "verbatim": True},
            {"type": "plain_text", "text": escape(value), "emoji": False},
        ]
    return {"type": "section", "fields": fields}


def _line(label: str, value: str) -> list[Json]:
    return paragraph([bold(f"{label}:"), plain(f" {value}")])

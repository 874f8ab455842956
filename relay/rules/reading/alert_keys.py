"""`alerts_to:` and `silence:`: who gets alerts about the relay itself, and how long a silence is too long."""

from collections.abc import Mapping

from relay.rules.reading.destinations import Entry
from relay.rules.reading.document import Node
from relay.rules.reading.node_reader import (
    Reading,
    as_table,
    as_text,
    check_keys,
    known_name,
    long_duration,
    one_or_many,
)
from relay.rules.reading.phrases import shown
from relay.rules.schedules import Schedule
from relay.rules.silence import Silence

_SILENCE = "how long no chat may come in, such as {longer_than: 4h, within: office}"
_NO_ALERTS = "if nobody is to get alerts, leave `alerts_to:` out"
_ONLY_CHOSEN = "name a destination with an address of its own"


def read_alerts_to(
    reading: Reading, node: Node | None, named: Mapping[str, object], entries: Mapping[str, Entry]
) -> tuple[str, ...]:
    """Names of destinations; `named`: all that the file names, `entries`: those that could be read."""
    if node is None:
        return ()
    problems = reading.problems
    found = []
    for text in one_or_many(problems, node, "the name of a destination or a list of them"):
        if not known_name(problems, text, named, "destination", _NO_ALERTS):
            continue
        if text.value in entries and not entries[text.value].recipients.fixed:
            what = f"the chat chooses all recipients of {shown(text.value)}, and an alert is about no chat"
            problems.error(text, what, _ONLY_CHOSEN)
        found.append(text.value)
    return tuple(dict.fromkeys(found))


def read_silence(
    reading: Reading, node: Node | None, always: Schedule, *, somebody_is_told: bool
) -> Silence | None:
    """None where there is none, or after a complaint. `always`: the schedule where none is named."""
    problems = reading.problems
    table = as_table(problems, node, _SILENCE) if node is not None else None
    if table is None:
        return None
    check_keys(problems, table, ("longer_than", "within"), "under silence")
    nodes = {key: value for key, (_, value) in table.entries.items()}
    within = always
    if "within" in nodes and (name := as_text(problems, nodes["within"], "the name of a schedule")):
        reading.used_schedules.add(name.value)
        if known_name(problems, name, reading.schedules, "schedule"):
            within = reading.schedules[name.value]
    if "longer_than" not in nodes:
        problems.error(table, "`silence:` does not say how long", "write longer_than: 4h")
    elif not somebody_is_told:
        problems.error(table, "nobody would be told about a silence", "write alerts_to: as well")
    why = "every pause between two chats would be a silence"
    longer = (
        long_duration(problems, nodes["longer_than"], "4h", why) if "longer_than" in nodes else None
    )
    return Silence(longer_than=longer, within=within) if longer else None

"""`relay export`: all that is kept of one visitor, as they may ask to see it."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from relay.cli import deliveries_words as words
from relay.cli.open_outbox import open_store
from relay.cli.printing import FINE, FOUND, as_json
from relay.cli.visitors import Name, Whose, find_theirs, whose
from relay.outbox.history import Record, StoredHook, Wanted, attempts_for, find, stored_hooks
from relay.smartsupp.hook_json import UnreadableHook, parse_object

ALL = 1_000_000
AT_ONCE = 50
"""Chats per read. Each is a transaction of its own: a long one would let SQLite's log grow without end."""
_HALF_LETTER = re.compile("[\ud800-\udfff]")


@click.command()
@whose
def export(*, emails: tuple[str, ...], visitors: tuple[str, ...], chat: Name | None) -> None:
    """Print all that is kept of a visitor as JSON: the hooks as they came, the deliveries, every attempt.

    The relay may run meanwhile.

    Exit code: 0 done, 1 nothing is kept of them, 2 could not run.
    """
    theirs = find_theirs(Whose.asked(emails, visitors, chat))
    chats = [
        each
        for start in range(0, len(theirs.chats), AT_ONCE)
        for each in _chats(theirs.chats[start : start + AT_ONCE])
    ]
    aside = [words.set_aside_as_json(hook) for hook in theirs.set_aside]
    # A hook may hold half letters, which no output takes; as JSON's escapes they stay what they were.
    click.echo(_HALF_LETTER.sub(_escaped, as_json({"chats": chats, "set_aside": aside})))
    sys.exit(FINE if chats or aside else FOUND)


def _chats(names: Sequence[Name]) -> list[dict[str, Any]]:
    """The stored chats among `names`, each as JSON values with its hooks."""
    with open_store() as session:
        stored = stored_hooks(session, names=names)
        records = find(session, Wanted(chats=names), limit=ALL)
        tries = attempts_for(session, names)
    hooks: dict[Name, list[StoredHook]] = {}
    for hook in stored:
        hooks.setdefault((hook.account, hook.chat), []).append(hook)
    deliveries: dict[Name, list[Record]] = {}
    for record in reversed(records):
        deliveries.setdefault((record.account, record.chat), []).append(record)
    return [
        {
            "account": name[0],
            "chat": name[1],
            "hooks": [_hook(hook) for hook in hooks[name]],
            "deliveries": [
                {
                    **words.as_json(record),
                    "tries": [words.attempt_as_json(each) for each in tries.get(record.id, ())],
                }
                for record in deliveries.get(name, ())
            ],
        }
        for name in names
        if name in hooks
    ]


def _hook(hook: StoredHook) -> dict[str, Any]:
    try:
        came: object = parse_object(hook.body)
    except UnreadableHook:  # one that an older relay could read
        came = hook.body.decode("utf-8", "replace")
    return {"id": hook.id, "received_at": hook.received_at.isoformat(), "hook": came}


def _escaped(half: re.Match[str]) -> str:
    return f"\\u{ord(half[0]):04x}"

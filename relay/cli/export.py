"""`relay export`: all that is kept of one visitor, as they may ask to see it."""

import re
import sys
from typing import Any

import click

from relay.cli import deliveries_words as words
from relay.cli.printing import FINE, FOUND, as_json
from relay.cli.store import open_store
from relay.cli.visitors import Name, Whose, find_theirs, whose
from relay.outbox.records import StoredHook, Wanted, attempts_at, find, stored_hooks
from relay.outbox.session import Session
from relay.smartsupp.hook_json import UnreadableHook, parse_object

ALL = 1_000_000
_HALF_LETTER = re.compile("[\ud800-\udfff]")


@click.command()
@whose
def export(*, emails: tuple[str, ...], visitors: tuple[str, ...], chat: Name | None) -> None:
    """Print all that is kept of a visitor as JSON: the hooks as they came, the deliveries, every attempt.

    The relay may run meanwhile.

    Exit code: 0 done, 1 nothing is kept of them, 2 could not run.
    """
    theirs = find_theirs(Whose.asked(emails, visitors, chat))
    with open_store() as session:
        chats = [each for name in theirs.chats if (each := _chat(session, name))]
    aside = [words.set_aside_as_json(hook) for hook in theirs.set_aside]
    # A hook may hold half letters, which no output takes; as JSON's escapes they stay what they were.
    click.echo(_HALF_LETTER.sub(_escaped, as_json({"chats": chats, "set_aside": aside})))
    sys.exit(FINE if chats or aside else FOUND)


def _chat(session: Session, name: Name) -> dict[str, Any] | None:
    hooks = stored_hooks(session, chat=name)
    if not hooks:
        return None
    account, chat = name
    records = find(session, Wanted(chat=name), limit=ALL)
    return {
        "account": account,
        "chat": chat,
        "hooks": [_hook(hook) for hook in hooks],
        "deliveries": [
            {
                **words.as_json(record),
                "tries": [words.attempt_as_json(each) for each in attempts_at(session, record.id)],
            }
            for record in reversed(records)
        ],
    }


def _hook(hook: StoredHook) -> dict[str, Any]:
    try:
        came: object = parse_object(hook.body)
    except UnreadableHook:  # one that an older relay could read
        came = hook.body.decode("utf-8", "replace")
    return {"id": hook.id, "received_at": hook.received_at.isoformat(), "hook": came}


def _escaped(half: re.Match[str]) -> str:
    return f"\\u{ord(half[0]):04x}"

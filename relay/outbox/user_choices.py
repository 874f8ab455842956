"""How a user wants the console's pages: its colours, language and zone, and whether keys do something."""

from zoneinfo import available_timezones

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from relay.languages import LANGUAGES
from relay.outbox.schema import users
from relay.outbox.statements import Query, Statements, bound
from relay.outbox.writer import Cursor

THEMES = ("light", "dark")


class Choices(Struct, frozen=True, omit_defaults=True):
    """What a user has chosen; empty where the browser or the rules file decides."""

    theme: str = ""
    """One of THEMES."""
    language: str = ""
    """One of LANGUAGES."""
    zone: str = ""
    """An IANA name."""
    keys: bool = True
    """Whether single keys do something."""

    def is_possible(self) -> bool:
        """Whether each choice is one that there is."""
        return (
            self.theme in {"", *THEMES}
            and self.language in {"", *LANGUAGES}
            and (not self.zone or self.zone in available_timezones())
        )


_SET = Query(
    sa.update(users).where(users.c.id == bound("number")).values(choices=bound("new_choices"))
)


def read_choices(text: str) -> Choices:
    """What the database holds; nothing chosen where that can't be read, as after another version of the relay."""
    try:
        found = msgspec.json.decode(text, type=Choices)
    except msgspec.MsgspecError:
        return Choices()
    return found if found.is_possible() else Choices(keys=found.keys)


def set_choices(sql: Statements, cursor: Cursor, user: int, choices: Choices) -> None:
    """Keep the choices of the user with this number."""
    sql[_SET].run(cursor, number=user, new_choices=msgspec.json.encode(choices).decode())

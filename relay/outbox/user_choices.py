"""A user's choices for the console's pages: theme, language, time zone, and keyboard shortcuts."""

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
    """A user's choices; an empty one leaves it to the browser or the rules file."""

    theme: str = ""
    """The theme, one of THEMES; empty where none was chosen."""
    language: str = ""
    """The tag of the pages' language, one of LANGUAGES; empty where none was chosen."""
    zone: str = ""
    """The IANA name of the time zone; empty where none was chosen."""
    keys: bool = True
    """Whether single keys work as shortcuts."""

    def is_possible(self) -> bool:
        """Whether theme, language and time zone are empty or exist."""
        return (
            self.theme in {"", *THEMES}
            and self.language in {"", *LANGUAGES}
            and (not self.zone or self.zone in available_timezones())
        )


_SET = Query(
    sa.update(users).where(users.c.id == bound("number")).values(choices=bound("new_choices"))
)


def read_choices(text: str) -> Choices:
    """The choices in a column's JSON; the defaults where it can't be read, as after another version of the relay."""
    try:
        choices = msgspec.json.decode(text, type=Choices)
    except msgspec.MsgspecError:
        return Choices()
    return choices if choices.is_possible() else Choices(keys=choices.keys)


def set_choices(sql: Statements, cursor: Cursor, user: int, choices: Choices) -> None:
    """Store the choices of the user with this number."""
    sql[_SET].run(cursor, number=user, new_choices=msgspec.json.encode(choices).decode())

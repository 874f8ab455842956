"""`relay user`: adds, changes, removes and lists the users of the console."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import NoReturn, TypeVar

import click

from relay.cli.deliveries_words import TimeFormat
from relay.cli.open_outbox import answer_of, author, sessions
from relay.cli.printing import JSON, could_not_run, counted, print_json, print_lines
from relay.outbox.database_session import Session
from relay.outbox.user_accounts import ADMIN, KnownUser, Role, all_users
from relay.rules.reading.value_parsers import did_you_mean, quoted
from relay.services import read_in_thread, write_in_thread
from relay.services.users import LONGEST_NAME, Actor, NotDone, Users, Why, is_password
from relay.settings.parsers import SHORTEST_PASSWORD
from relay.settings.table import CONSOLE_PASSWORD, Settings, SettingsError, read_settings

T = TypeVar("T")
ROLE = click.Choice([role.value for role in Role])
FROM_STDIN = click.option(
    "--password-stdin", is_flag=True, help="Read the password from stdin; no link is printed."
)
_ROLES_HELP = "A viewer sees everything, an editor also sends again and mutes, an admin also pauses destinations and looks after users."


@click.group()
def user() -> None:
    """Say who may sign in to the console, and what they may do there."""


@user.command()
@click.argument("name")
@click.option("--role", type=ROLE, default="viewer", show_default=True, help=_ROLES_HELP)
@FROM_STDIN
def add(name: str, role: str, *, password_stdin: bool) -> None:
    """Add the user NAME, a word or an email address, and print a link to set a password.

    The link works once, for 24 hours. Behind a proxy that signs in by RELAY_CONSOLE_TRUSTED_HEADER nobody needs a password: NAME
    is what the header says.

    Exit code: 0 the user is there; 2 the name is taken or can't be used, or the database can't be used.
    """
    password = _hashed_password() if password_stdin else ""

    def work(users: Users) -> str:
        made = users.add(name, Role(role), password)
        return "" if password else users.make_link(made)

    link = _change(name, work)
    print_lines([f"{name.strip().lower()} may sign in as {role}.", *_link(link)])


@user.command()
@click.argument("name")
@FROM_STDIN
def passwd(name: str, *, password_stdin: bool) -> None:
    """Print a link by which NAME sets a new password, which ends all of NAME's sessions.

    The link works once, for 24 hours; until then the previous password works.

    Exit code: 0 done; 2 there is no such user, or the database can't be used.
    """
    _refuse_password_of_setting(name)
    password = _hashed_password() if password_stdin else ""

    def work(users: Users) -> str:
        person = users.find(name)
        if not password:
            return users.make_link(person)
        users.set_password(person, password)
        return ""

    link = _change(name, work)
    print_lines(_link(link) if link else ["The password is set, and previous sessions have ended."])


@user.command()
@click.argument("name")
@click.argument("role", type=ROLE)
def role(name: str, role: str) -> None:
    """Give NAME another role, which ends NAME's sessions.

    Exit code: 0 done; 2 there is no such user, no admin would be left, or the database can't be used.
    """
    _change(name, lambda users: users.set_role(users.find(name), Role(role)))
    print_lines([f"{name.strip().lower()} is {role} now."])


@user.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the user NAME, with NAME's sessions and API tokens.

    Exit code: 0 done; 2 there is no such user, no admin would be left, or the database can't be used.
    """
    if _is_of_setting(name):
        could_not_run([f"{CONSOLE_PASSWORD} makes the user admin: take the setting away instead"])
    _change(name, lambda users: users.remove(users.find(name)))
    print_lines([f"{name.strip().lower()} may not sign in any more."])


@user.command(name="list")
@JSON
def list_(*, as_json: bool) -> None:
    """List the users: role, when last seen, and how many sessions are open.

    Exit code: 0; 2 the database can't be used.
    """
    now = datetime.now(UTC)

    def work(session: Session) -> list[KnownUser]:
        return all_users(session.operations.sql, session.cursor, now)

    users = answer_of(read_in_thread(sessions(), work))
    if as_json:
        print_json([_as_json(each) for each in users])
    else:
        clock = TimeFormat(None)
        print_lines(chain.from_iterable(_listed(each, clock) for each in users))
        if not users:
            print_lines(["Nobody may sign in: `relay user add NAME` adds a user."])


def _as_json(known: KnownUser) -> dict[str, object]:
    return {
        "name": known.user.name,
        "role": known.user.role.value,
        "made_by": known.origin,
        "has_password": bool(known.user.password),
        "seen": known.seen_at.isoformat() if known.seen_at else None,
        "sessions": known.sessions,
    }


def _listed(known: KnownUser, clock: TimeFormat) -> Iterator[str]:
    seen = f"last seen {clock(known.seen_at)}" if known.seen_at else "never seen"
    yield f"{known.user.name}  {known.user.role.value}  {seen}, {counted(known.sessions, 'open session')}"


# -- what they share --------------------------------------------------------------------------------------------


def _change(name: str, change: Callable[[Users], T]) -> T:
    """Run `change` in a transaction and return its result; ends the command where it is refused."""
    actor = Actor(name=author(None), via="command")

    def work(session: Session) -> T:
        sql, cursor = session.operations.sql, session.cursor
        return change(Users(sql, cursor, actor, datetime.now(UTC)))

    try:
        return answer_of(write_in_thread(sessions(), work))
    except NotDone as error:
        _not_done(error.why, name)


def _not_done(why: Why, name: str) -> NoReturn:
    if why is Why.UNKNOWN_USER:
        with sessions().reading() as session:
            known = all_users(session.operations.sql, session.cursor, datetime.now(UTC))
        hint = did_you_mean(name, [each.user.name for each in known])
        could_not_run([f"there is no user {quoted(name)}; {hint}"])
    words = {
        Why.NAME: f"{quoted(name)} can't be a name: write a word or an email address, of at most {LONGEST_NAME} characters and without spaces",
        Why.EXISTS: f"there is a user {quoted(name)} already: `relay user passwd` prints another link, `relay user role` changes the role",
        Why.LAST_ADMIN: f"{quoted(name)} is the only admin: make another user admin first, by `relay user role`",
    }
    could_not_run([words[why]])


def _hashed_password() -> str:
    typed = sys.stdin.readline().rstrip("\r\n")
    if not is_password(typed):
        could_not_run(
            [f"a password has at least {SHORTEST_PASSWORD} characters; the one on stdin has not"]
        )
    from relay.console.passwords import Passwords  # noqa: PLC0415 - no other command needs it

    passwords = Passwords()
    try:
        return asyncio.run(passwords.hash(typed))
    finally:
        passwords.close()


def _link(secret: str) -> list[str]:
    if not secret:
        return []
    return [
        f"{_address()}/login/{secret}",
        "Pass this link on: it sets a password, works once, and ends in 24 hours.",
        "A relay that runs without a console turns it on at its next start.",
    ]


def _address() -> str:
    settings = _settings()
    return settings.public_url or settings.own_url


def _refuse_password_of_setting(name: str) -> None:
    if _is_of_setting(name):
        could_not_run([f"the password of {quoted(name)} is {CONSOLE_PASSWORD}: change it there"])


def _is_of_setting(name: str) -> bool:
    return name.strip().lower() == ADMIN and _settings().console_password is not None


def _settings() -> Settings:
    try:
        return read_settings(os.environ)
    except SettingsError as error:
        return error.settings

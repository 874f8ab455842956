"""Operations on users and on the log of acts, and about who sends the request."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.json_api.api_request import (
    LARGEST,
    Call,
    Line,
    Listing,
    Numbered,
    copied,
    following,
    position,
)
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, missing, wrong
from relay.console.logged_acts import AlreadyDone
from relay.outbox.audit_log import list_acts
from relay.outbox.user_accounts import Role, all_users
from relay.outbox.user_accounts import User as KeptUser
from relay.services.users import NotDone, Users, Why

T = TypeVar("T")
people = Operations("People")


class Me(Struct, kw_only=True):
    """The user or the token that sends the request, and its role."""

    kind: Literal["token", "user"]
    """Whether a token or a user sends the request."""
    name: str
    """The name of the token or the user."""
    role: Role
    """viewer, editor or admin."""


class Act(Struct, kw_only=True):
    """An entry in the log of acts, without words of visitors."""

    id: int
    """The number of the act; a newer one has a larger number."""
    at: datetime
    """When it was done, in UTC."""
    by: str
    """The user, or `anna (token reports)` for a program."""
    via: str
    """Where it was done: console, api or command."""
    address: str
    """The IP address that the request came from; may be empty."""
    act: str
    """The kind of act, such as `send again`."""
    subject: str
    """The number or name of what the act was done to; may be empty."""
    detail: str
    """Further details, such as a destination; may be empty."""


class ActList(Struct, kw_only=True):
    """A page of the log of acts, newest first."""

    acts: list[Act]
    """The acts, newest first, at most `limit`."""
    next: str | None
    """The path of the next page; null on the last one."""


class User(Struct, kw_only=True):
    """A user, who may sign in."""

    id: int
    """The number of the user."""
    name: str
    """A word or an email address."""
    role: Role
    """viewer, editor or admin."""
    origin: str
    """Where the user was made: setting, command, console or api."""
    seen_at: datetime | None
    """When the user last requested a page, in UTC; null for never."""
    sessions: int
    """How many open sessions the user has."""


class UserList(Struct, kw_only=True):
    """All users, by name."""

    users: list[User]
    """All users, by name."""


@people.operation(HttpMethod.GET, "/me", Role.VIEWER)
async def get_me(call: Call) -> Me:
    """The user or the token that sends the request, and its role."""
    caller = call.caller
    if caller.token:
        return Me(kind="token", name=caller.token.name, role=caller.token.role)
    user = caller.session.user if caller.session else None
    return Me(kind="user", name=user.name if user else "", role=user.role if user else Role.VIEWER)


@people.operation(HttpMethod.GET, "/acts", Role.ADMIN)
async def find_acts(call: Call, query: Listing) -> ActList:
    """The log of acts, newest first: who did what."""
    before = position(call, query) or LARGEST
    acts = await call.api.sign_in.read(list_acts, before=before, most=query.limit + 1)
    some = acts[: query.limit]
    last = some[-1].id if len(acts) > query.limit else None
    return ActList(
        acts=[copied(Act, each) for each in some],
        next=following(call, query, last),
    )


@people.operation(HttpMethod.GET, "/users", Role.ADMIN)
async def list_users(call: Call) -> UserList:
    """All users, with their roles."""
    users = await call.api.sign_in.read(all_users, now=call.api.sign_in.now())
    return UserList(
        users=[
            copied(
                User, each.user, origin=each.origin, seen_at=each.seen_at, sessions=each.sessions
            )
            for each in users
        ]
    )


class NewUser(Struct, kw_only=True, forbid_unknown_fields=True):
    """A user to add."""

    name: Annotated[Line, Meta(description="A word or an email address.")]
    role: Role
    """viewer, editor or admin."""


class UserLink(Struct, kw_only=True):
    """A link with which a user sets a password, once, within 24 hours. It is shown only in this answer."""

    id: int
    """The number of the user."""
    name: str
    """A word or an email address."""
    role: Role
    """viewer, editor or admin."""
    link: str
    """The whole URL, with its secret part."""


class UserRole(Struct, kw_only=True, forbid_unknown_fields=True):
    """The new role of a user."""

    role: Role
    """viewer, editor or admin."""


class ChangedUser(Struct, kw_only=True):
    """A user after a change, or before removal."""

    id: int
    """The number of the user."""
    name: str
    """A word or an email address."""
    role: Role
    """The role after the change, or before the removal."""


@people.operation(
    HttpMethod.POST, "/users", Role.ADMIN, status=201, refusals=(409,), once=True, has_secret=True
)
async def add_user(call: Call, body: NewUser) -> UserLink:
    """Add a user, and make a link with which they set a password."""
    return await _with_link(call, lambda users: users.add(body.name, body.role))


@people.operation(
    HttpMethod.POST,
    "/users/{number}/link",
    Role.ADMIN,
    refusals=(409,),
    once=True,
    has_secret=True,
)
async def make_user_link(call: Call, path: Numbered) -> UserLink:
    """Make a new link with which a user sets a password; an earlier one expires."""
    return await _with_link(call, lambda users: users.by_id(path.number))


@people.operation(HttpMethod.POST, "/users/{number}/role", Role.ADMIN, refusals=(409,), once=True)
async def change_role(call: Call, path: Numbered, body: UserRole) -> ChangedUser:
    """Give a user another role; their sessions end."""

    def work(users: Users) -> ChangedUser:
        user = users.by_id(path.number)
        users.set_role(user, body.role)
        return ChangedUser(id=user.id, name=user.name, role=body.role)

    return await changed_by(call, work)


@people.operation(HttpMethod.POST, "/users/{number}/end-sessions", Role.ADMIN, once=True)
async def end_sessions(call: Call, path: Numbered) -> ChangedUser:
    """End all sessions of a user, who then has to sign in again."""

    def work(users: Users) -> ChangedUser:
        user = users.by_id(path.number)
        users.end_sessions(user)
        return copied(ChangedUser, user)

    return await changed_by(call, work)


@people.operation(HttpMethod.DELETE, "/users/{number}", Role.ADMIN, refusals=(409,))
async def remove_user(call: Call, path: Numbered) -> ChangedUser:
    """Remove a user with their sessions, links and tokens."""

    def work(users: Users) -> ChangedUser:
        user = users.by_id(path.number)
        users.remove(user)
        return copied(ChangedUser, user)

    return await changed_by(call, work)


async def _with_link(call: Call, find_user: Callable[[Users], KeptUser]) -> UserLink:
    address = call.running.ready.settings.public_url or f"http://{call.headers['host']}"

    def work(users: Users) -> UserLink:
        user = find_user(users)
        link = f"{address}/login/{users.make_link(user)}"
        return copied(UserLink, user, link=link)

    return await changed_by(call, work)


async def changed_by(call: Call, work: Callable[[Users], T]) -> T:
    """The result of `work`, which changes users. Raises Refusal and AlreadyDone."""

    def work_once(users: Users) -> T:
        if call.key and not users.keep_key(call.key):
            raise AlreadyDone
        return work(users)

    try:
        return await call.api.sign_in.change(call.caller, work_once)
    except NotDone as error:
        raise _refusal(error.why) from None


def _refusal(why: Why) -> Refusal:
    match why:
        case Why.NAME:
            return wrong("name", "a word or an email address, of at most 100 characters")
        case Why.EXISTS:
            return Refusal(409, "There is a user of this name already.", kind="name-is-taken")
        case Why.LAST_ADMIN:
            return Refusal(409, "This is the only admin.", kind="only-admin")
        case Why.SETTING:
            return Refusal(409, "This user is changed by RELAY_CONSOLE_PASSWORD only.")
        case Why.OUTLIVES:
            return wrong("days", "no more than are left of the token that makes it")
        case Why.UNKNOWN_USER:
            return missing("such user or token")

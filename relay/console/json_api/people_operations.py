"""Who asks, users, tokens and the log of acts, as the JSON API tells them."""

from datetime import datetime
from typing import Literal

from litestar import HttpMethod
from msgspec import Struct

from relay.console.json_api.cursor import Listing, following, position
from relay.console.json_api.operation import LARGEST, Call, Operations
from relay.outbox.log_of_acts import list_acts
from relay.outbox.people import Role, all_users
from relay.outbox.people_tokens import all_tokens

people = Operations("People")


class Me(Struct, kw_only=True):
    """Who asks, and what they may do."""

    kind: Literal["token", "user"]
    name: str
    role: Role


class Act(Struct, kw_only=True):
    """What somebody did, without words of visitors."""

    id: int
    at: datetime
    by: str
    via: str
    """console, api or command."""
    address: str
    act: str
    subject: str
    detail: str


class ActList(Struct, kw_only=True):
    """Acts, the newest first."""

    acts: list[Act]
    next: str | None
    """The path of the rest; null where there is no more."""


class User(Struct, kw_only=True):
    """Somebody who may sign in."""

    id: int
    name: str
    role: Role
    origin: str
    """setting, command, console or api: where the user was made."""
    seen_at: datetime | None
    sessions: int
    """How many are open."""


class UserList(Struct, kw_only=True):
    """All users, by name."""

    users: list[User]


class Token(Struct, kw_only=True):
    """By which a program uses this API. The token itself is shown once, when it is made."""

    id: int
    name: str
    role: Role
    maker: str
    created_at: datetime
    expires_at: datetime | None
    """Null: never."""
    used_at: datetime | None
    """To the day."""


class TokenList(Struct, kw_only=True):
    """All tokens that were not ended, the newest first."""

    tokens: list[Token]


@people.operation(HttpMethod.GET, "/me", Role.VIEWER)
async def get_me(call: Call) -> Me:
    """Who asks, and what they may do."""
    visit = call.visit
    if visit.token:
        return Me(kind="token", name=visit.token.name, role=visit.token.role)
    user = visit.session.user if visit.session else None
    return Me(kind="user", name=user.name if user else "", role=user.role if user else Role.VIEWER)


@people.operation(HttpMethod.GET, "/acts", Role.ADMIN)
async def find_acts(call: Call, query: Listing) -> ActList:
    """The log of acts: who did what, the newest first."""
    before = position(call, query) or LARGEST
    found = await call.sign_in.read(list_acts, before=before, most=query.limit + 1)
    some = found[: query.limit]
    last = some[-1].id if len(found) > query.limit else None
    return ActList(
        acts=[
            Act(**{name: getattr(each, name) for name in Act.__struct_fields__}) for each in some
        ],
        next=following(call, query, last),
    )


@people.operation(HttpMethod.GET, "/users", Role.ADMIN)
async def list_users(call: Call) -> UserList:
    """Who may sign in, and what they may do."""
    found = await call.sign_in.read(all_users, now=call.sign_in.now())
    return UserList(
        users=[
            User(
                id=each.user.id,
                name=each.user.name,
                role=each.user.role,
                origin=each.origin,
                seen_at=each.seen_at,
                sessions=each.sessions,
            )
            for each in found
        ]
    )


@people.operation(HttpMethod.GET, "/tokens", Role.ADMIN)
async def list_tokens(call: Call) -> TokenList:
    """The tokens of programs, without what lets them in."""
    found = await call.sign_in.read(all_tokens)
    return TokenList(
        tokens=[
            Token(**{name: getattr(each, name) for name in Token.__struct_fields__})
            for each in found
        ]
    )

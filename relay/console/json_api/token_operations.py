"""Tokens of programs, as the JSON API tells, makes and ends them."""

from datetime import datetime, timedelta
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.json_api.call import Call, Numbered
from relay.console.json_api.operation import Operations
from relay.console.json_api.people_operations import changed_by
from relay.console.json_api.problem_details import wrong
from relay.outbox.people import Role
from relay.outbox.people_tokens import all_tokens
from relay.services.users import Users

MOST_DAYS = 3650
tokens = Operations("Tokens")


class Token(Struct, kw_only=True):
    """By which a program uses this API. The token itself is shown once, when it is made."""

    id: int
    """By which it is ended."""
    name: str
    """What it is for, in the words of its maker."""
    role: Role
    """What it may do: viewer, editor or admin; never more than its maker."""
    maker: str
    """The name of the user who made it."""
    created_at: datetime
    """When it was made, in UTC."""
    expires_at: datetime | None
    """Null: never."""
    used_at: datetime | None
    """To the day."""


class TokenList(Struct, kw_only=True):
    """All tokens that were not ended, the newest first."""

    tokens: list[Token]
    """The newest first."""


class NewToken(Struct, kw_only=True, forbid_unknown_fields=True):
    """By which a program is to use this API."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\u0000]*$")]
    """What it is for."""
    role: Annotated[Role, Meta(description="Never more than who asks may do.")]
    days: Annotated[
        int | None, Meta(description="How long it lasts; left out: until it is ended.")
    ] = None


class MadeToken(Struct, kw_only=True):
    """A new token. It is told once."""

    name: str
    """What it is for."""
    role: Role
    """What it may do: viewer, editor or admin."""
    token: str
    """What programs send in `Authorization: Bearer`: `relay_` and 49 letters and digits."""


class EndedToken(Struct, kw_only=True):
    """A token that lets nobody in any more."""

    id: int
    """The number of the token."""
    name: str
    """What it was for; empty where there was none."""


@tokens.operation(HttpMethod.GET, "/tokens", Role.ADMIN)
async def list_tokens(call: Call) -> TokenList:
    """The tokens of programs, without what lets them in."""
    found = await call.api.sign_in.read(all_tokens)
    return TokenList(
        tokens=[
            Token(**{name: getattr(each, name) for name in Token.__struct_fields__})
            for each in found
        ]
    )


@tokens.operation(HttpMethod.POST, "/tokens", Role.ADMIN, status=201, once=True, tells_secret=True)
async def make_token(call: Call, body: NewToken) -> MadeToken:
    """Make a token, which belongs to the user who asks, or whose token asks."""
    visit = call.visit
    if body.days is not None and not 1 <= body.days <= MOST_DAYS:
        raise wrong("days", f"1 to {MOST_DAYS}")
    lasts = timedelta(days=body.days) if body.days else None

    def work(users: Users) -> MadeToken:
        maker = visit.token.maker if visit.token else visit.name
        made = users.make_token(users.find(maker), body.name, body.role, lasts)
        return MadeToken(name=body.name, role=body.role, token=made)

    return await changed_by(call, work)


@tokens.operation(HttpMethod.DELETE, "/tokens/{number}", Role.ADMIN)
async def end_token(call: Call, path: Numbered) -> EndedToken:
    """End a token: it lets nobody in any more."""
    known = await call.api.sign_in.read(all_tokens)
    name = next((each.name for each in known if each.id == path.number), "")

    def work(users: Users) -> EndedToken:
        users.end_token(path.number, name)
        return EndedToken(id=path.number, name=name)

    return await changed_by(call, work)

"""Operations on API tokens: list, make and end them."""

from datetime import datetime, timedelta
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.json_api.api_request import Call, Numbered, copied
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import wrong
from relay.console.json_api.user_operations import changed_by
from relay.outbox.user_accounts import Role
from relay.outbox.user_tokens import all_tokens
from relay.services.users import Users

MOST_DAYS = 3650
tokens = Operations("Tokens")


class Token(Struct, kw_only=True):
    """An API token of a program. Its secret is shown only when it is made."""

    id: int
    """The number of the token."""
    name: str
    """The purpose of the token, as its maker wrote it."""
    role: Role
    """viewer, editor or admin; never more than the role of its maker."""
    maker: str
    """The name of the user who made it."""
    created_at: datetime
    """When it was made, in UTC."""
    expires_at: datetime | None
    """When it expires, in UTC; null: never."""
    used_at: datetime | None
    """The day of its last use; null for none."""


class TokenList(Struct, kw_only=True):
    """All API tokens that were not ended, newest first."""

    tokens: list[Token]
    """The tokens, newest first."""


class NewToken(Struct, kw_only=True, forbid_unknown_fields=True):
    """An API token to make."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\u0000]*$")]
    """The purpose of the token."""
    role: Annotated[Role, Meta(description="Never more than who asks may do.")]
    days: Annotated[
        int | None,
        Meta(
            description="How long it lasts, and not longer than the token that makes it; left out: until it is ended."
        ),
    ] = None


class MadeToken(Struct, kw_only=True):
    """A new API token. Its secret is shown only in this answer."""

    name: str
    """The purpose of the token."""
    role: Role
    """viewer, editor or admin."""
    token: str
    """The secret for `Authorization: Bearer`: `relay_` and 49 letters and digits."""


class EndedToken(Struct, kw_only=True):
    """An API token that was ended."""

    id: int
    """The number of the token."""
    name: str
    """The purpose of the token; empty where it did not exist."""


@tokens.operation(HttpMethod.GET, "/tokens", Role.ADMIN)
async def list_tokens(call: Call) -> TokenList:
    """All API tokens that were not ended, without their secrets."""
    stored_tokens = await call.api.sign_in.read(all_tokens)
    return TokenList(tokens=[copied(Token, each) for each in stored_tokens])


@tokens.operation(HttpMethod.POST, "/tokens", Role.ADMIN, status=201, once=True, has_secret=True)
async def make_token(call: Call, body: NewToken) -> MadeToken:
    """Make an API token, which belongs to the user who sends the request, or who made the token that sends it.

    A token can't make one that lasts longer than itself.
    """
    caller = call.caller
    if body.days is not None and not 1 <= body.days <= MOST_DAYS:
        raise wrong("days", f"1 to {MOST_DAYS}")
    lasts = timedelta(days=body.days) if body.days else None

    def work(users: Users) -> MadeToken:
        maker = caller.token.maker if caller.token else caller.name
        made = users.make_token(users.find(maker), body.name, body.role, lasts, by=caller.token)
        return MadeToken(name=body.name, role=body.role, token=made)

    return await changed_by(call, work)


@tokens.operation(HttpMethod.DELETE, "/tokens/{number}", Role.ADMIN)
async def end_token(call: Call, path: Numbered) -> EndedToken:
    """End an API token, which is no longer accepted."""
    known = await call.api.sign_in.read(all_tokens)
    name = next((each.name for each in known if each.id == path.number), "")

    def work(users: Users) -> EndedToken:
        users.end_token(path.number, name)
        return EndedToken(id=path.number, name=name)

    return await changed_by(call, work)

"""Operations on posts to the hook's address that could not be read: list, read and accept them."""

from datetime import datetime
from functools import partial

from litestar import HttpMethod
from msgspec import Struct

from relay.console.delivery_pages import MOST_UNREADABLE
from relay.console.json_api.api_request import Call, Numbered, copied
from relay.console.json_api.chat_operations import QueuedAnew, queued_of
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, missing
from relay.outbox.chat_list import number_of_chat
from relay.outbox.history import SetAside
from relay.outbox.user_accounts import Role
from relay.services.find_deliveries import unreadable_posts
from relay.services.replay import replay

unreadable = Operations("Unreadable posts")


class UnreadablePost(Struct, kw_only=True):
    """A post that this relay can't read as a hook."""

    id: int
    """The relay's number of the post."""
    received_at: datetime
    """When it came in, in UTC."""
    reason: str
    """Why it could not be read when it came."""
    size: int
    """The size in bytes."""


class UnreadableBody(Struct, kw_only=True):
    """A post that could not be read, with its body."""

    post: UnreadablePost
    """When the post came, and why it could not be read."""
    body: str
    """The body as text, with invalid UTF-8 replaced."""


class TakenIn(Struct, kw_only=True):
    """A post that was accepted as a hook."""

    chat: int | None
    """The number of its chat; null where the chat was erased meanwhile."""
    queued: list[QueuedAnew]
    """The deliveries that the rules have made."""


class UnreadablePosts(Struct, kw_only=True):
    """The newest posts that could not be read."""

    posts: list[UnreadablePost]
    """The posts, newest first, at most 50."""


@unreadable.operation(HttpMethod.GET, "/unreadable-posts", Role.VIEWER)
async def list_unreadable_posts(call: Call) -> UnreadablePosts:
    """The newest posts to the hook's address that could not be read."""
    posts = await unreadable_posts(call.sessions, limit=MOST_UNREADABLE)
    return UnreadablePosts(posts=list(map(_unreadable, posts)))


@unreadable.operation(HttpMethod.GET, "/unreadable-posts/{number}", Role.ADMIN)
async def get_unreadable_post(call: Call, path: Numbered) -> UnreadableBody:
    """A post that could not be read, with its body."""
    return unreadable_body(await _post(call, path.number))


@unreadable.operation(
    HttpMethod.POST, "/unreadable-posts/{number}/take-in", Role.ADMIN, status=202, once=True
)
async def take_in_post(call: Call, path: Numbered) -> TakenIn:
    """Accept a post that can be read by now, as if it had just come, and evaluate the rules in force."""
    post, in_force = await _post(call, path.number), call.running.parts.in_force
    replayed = partial(
        replay,
        set_aside=[post.id],
        rules=in_force.rules,
        mail_domain=in_force.mail_domain,
        by=call.caller.name,
        now=call.now,
    )
    # First as a trial: what is refused uses up no Idempotency-Key.
    if problem := (await replayed(call.sessions, dry_run=True)).still_unreadable.get(post.id):
        words = f"Unreadable post {post.id} still can't be read: {problem}"
        raise Refusal(422, words, kind="still-unreadable")
    done = await replayed(call.acting("take in", str(post.id)))
    if not done.judged:
        raise missing(f"unreadable post {post.id}")
    (judged,) = done.judged
    name = judged.hook.chat.account, judged.hook.chat.id
    outbox = call.running.parts.outbox
    return TakenIn(
        chat=await outbox.read(lambda read: number_of_chat(read, name)),
        queued=queued_of(judged),
    )


async def _post(call: Call, number: int) -> SetAside:
    """The post with this number. Raises Refusal where there is none."""
    for post in await unreadable_posts(call.sessions, ids=[number], limit=1):
        return post
    raise missing(f"unreadable post {number}")


def unreadable_body(post: SetAside) -> UnreadableBody:
    """A post that could not be read, with its body, as JSON."""
    return UnreadableBody(post=_unreadable(post), body=post.body.decode("utf-8", "replace"))


def _unreadable(post: SetAside) -> UnreadablePost:
    return copied(UnreadablePost, post, size=len(post.body))

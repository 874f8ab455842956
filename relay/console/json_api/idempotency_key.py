"""Idempotency keys: a request that is sent twice acts once, and both times gets the same answer."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable

from litestar import Response

from relay.console.acts import AlreadyDone
from relay.console.json_api.call import JSON, Call
from relay.console.json_api.problem_details import Refusal, wrong
from relay.console.sign_in import PATIENCE
from relay.outbox import StorageUnavailable
from relay.outbox.idempotency import IdempotencyKey, KeptAnswer, find_key, keep_answer

KEY_HEADER = "idempotency-key"
LONGEST_KEY = 200
_KEY = re.compile(rf"[\x20-\x7e]{{1,{LONGEST_KEY}}}")
REPEATED = "idempotency-replayed"
"""The header of an answer that was stored and is given again."""

log = logging.getLogger(__name__)


def key_of(call: Call, method: str, path: str) -> IdempotencyKey | None:
    """The idempotency key in a request's headers; None without one. Raises Refusal for an invalid key."""
    key = call.headers.get(KEY_HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        words = f"one to {LONGEST_KEY} letters, digits and signs of ASCII"
        raise wrong("Idempotency-Key", words)
    visit = call.visit
    number = visit.session.user.id if visit.session else 0
    owner = f"token {visit.token.id}" if visit.token else f"user {number}"
    asked = hashlib.sha256(f"{method} {path}\n".encode() + visit.body)
    return IdempotencyKey(owner=owner, key=key, request=asked.digest())


async def answered_once(
    call: Call,
    key: IdempotencyKey,
    answered: Callable[[], Awaitable[Response[bytes]]],
    *,
    is_kept: bool = True,
) -> Response[bytes]:
    """Answer a call with a key; of several calls with the same key, only the first does anything. Raises Refusal.

    `is_kept`: false for an answer with a secret, which is not stored.
    """
    name = (key.owner, key.key)
    if name in call.api.under_way:
        raise _under_way()
    call.api.under_way.add(name)
    try:
        if kept := await call.api.sign_in.read(find_key, key=key, now=call.now):
            return _repeated(key, kept)
        try:
            answer = await answered()
        except AlreadyDone:  # another relay on the same database was faster
            raise _under_way() from None
        try:
            if is_kept:
                await _keep(call, key, answer)
        except (StorageUnavailable, TimeoutError) as error:
            log.warning("the answer to a request with an Idempotency-Key is not kept: %s", error)
        return answer
    finally:
        call.api.under_way.discard(name)


async def _keep(call: Call, key: IdempotencyKey, answer: Response[bytes]) -> None:
    """Store the answer under the key. Raises StorageUnavailable and TimeoutError."""
    outbox, status = call.running.parts.outbox, answer.status_code or 200
    async with asyncio.timeout(PATIENCE):
        await outbox.run(
            lambda cursor: keep_answer(outbox.operations.sql, cursor, key, status, answer.content)
        )


def _under_way() -> Refusal:
    return Refusal(
        409,
        "A request with this Idempotency-Key is under way. Ask again in a moment.",
        kind="under-way",
        headers={"retry-after": "1"},
    )


def _repeated(key: IdempotencyKey, kept: KeptAnswer) -> Response[bytes]:
    """The stored answer. Raises Refusal where the key was used for another request, or the answer is not known."""
    if kept.request != key.request:
        raise Refusal(
            422,
            "This Idempotency-Key was sent with another request before. Choose another key.",
            kind="key-of-another-request",
            fields={"Idempotency-Key": "was sent with another request before"},
        )
    if kept.status is None:
        raise Refusal(
            409,
            "This was done before, and what was answered is not known. Look at what came of it.",
            kind="answer-not-known",
        )
    return Response(
        kept.body,
        status_code=kept.status,
        media_type=JSON,
        headers={REPEATED: "true"},
    )

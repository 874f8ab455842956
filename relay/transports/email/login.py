"""Logging in to a mail server (AUTH): XOAUTH2 with a token, else PLAIN or LOGIN with a password."""

import re
from collections.abc import Awaitable, Callable, Collection

from aiosmtplib.auth import auth_login_encode, auth_plain_encode, auth_xoauth2_encode
from aiosmtplib.response import SMTPResponse

from relay.settings.smtp import SmtpServer
from relay.transports.email.failure import Cause, SmtpFailure, Stage

Ask = Callable[[bytes], Awaitable[SMTPResponse]]
"""A command -> the reply to it. Raises SmtpFailure."""

# 504, 534, 538: not by this mechanism, or not here (RFC 4954 6). 500 to 502: what AUTH begins like was not understood.
_OTHER_MECHANISM = {500, 501, 502, 504, 534, 538}
_NO_MECHANISM = re.compile(
    r"(?:un(?:supported|recogni[sz]ed|known|available)|invalid|no|not supported) (?:\w+ ){0,2}(?:mechanism|auth\w* (?:type|method))"
    r"|(?:mechanism|auth\w* (?:type|method)) (?:\w+ ){0,3}(?:not|un\w+|invalid|disabled|too weak)",
    re.IGNORECASE,
)


async def log_in(ask: Ask, server: SmtpServer, token: str, offered: Collection[str]) -> None:
    """With `token` if there is one, else with the server's password. Raises SmtpFailure.

    Another mechanism is tried only where the refusal was about the mechanism: each wrong password brings an account
    nearer to being locked.
    """
    ways = {"xoauth2": _xoauth2} if token else {"plain": _plain, "login": _login}
    usable = [way for name, way in ways.items() if name in offered]
    if not usable:
        needs = (
            "takes no OAuth login: XOAUTH2" if token else "takes no password login: PLAIN or LOGIN"
        )
        words = f"{needs} is needed, it offers {', '.join(offered).upper() or 'none'}"
        raise SmtpFailure(Stage.LOGIN, Cause.MISCONFIGURED, words)
    for way in usable:
        reply = await way(ask, server.username, token or server.password.reveal())
        if reply.code == 235:
            return
        if not _is_about_mechanism(reply):
            break
    raise SmtpFailure(Stage.LOGIN, Cause.REFUSED, "", reply)


def _is_about_mechanism(reply: SMTPResponse) -> bool:
    if reply.code in _OTHER_MECHANISM:
        return True
    return reply.code >= 500 and bool(_NO_MECHANISM.search(reply.message))


async def _plain(ask: Ask, username: str, password: str) -> SMTPResponse:
    return await ask(b"AUTH PLAIN " + auth_plain_encode(username, password))


async def _login(ask: Ask, username: str, password: str) -> SMTPResponse:
    reply = await ask(b"AUTH LOGIN")
    for word in auth_login_encode(username, password):
        if reply.code != 334:
            break
        reply = await ask(word)
    return reply


async def _xoauth2(ask: Ask, username: str, token: str) -> SMTPResponse:
    reply = await ask(b"AUTH XOAUTH2 " + auth_xoauth2_encode(username, token))
    if reply.code == 334:  # what is wrong, in JSON; the answer to it brings the refusal
        reply = await ask(b"")
    return reply

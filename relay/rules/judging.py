"""How long a hook may take to be judged: at once where that is quick, else beside the event loop and for a limited time."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

from relay.chat import Chat
from relay.rules import Judgement, RuleBook
from relay.rules.chat_view import ChatView
from relay.rules.judgement import judge_view, judgement_of
from relay.rules.time_limit import OutOfTime, TimeLimit

AT_ONCE = 0.005
"""Seconds for which the event loop may stand still for one chat."""
FOR_A_CHAT = 1.0
"""Seconds in which all the rules are to be asked, beside the event loop."""
FOR_A_RULE = 0.5
"""Seconds for each rule, where that was not enough for all."""
LONGEST = 3.0
"""Seconds after which no rule is asked any more that takes long; also for chats that waited for their turn."""

log = logging.getLogger(__name__)


class Judged(msgspec.Struct, frozen=True):
    """What the rules said of a chat."""

    judgement: Judgement
    trouble: str = ""
    """Why not all rules could be asked; empty as a rule."""
    unasked: tuple[str, ...] = ()
    """The rules that failed, or ran out of time."""


class Judging:
    """Asks the rules about chats that come in."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        # One thread: what takes long for one chat is not to take the processor from all others.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rules")

    def close(self) -> None:
        """What is being asked may go on for up to `LONGEST` seconds; nobody waits for it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ask(self, rules: RuleBook, chat: Chat, size: int) -> Judged:
        """What the rules say. `size`: the hook's bytes."""
        view = ChatView(chat)
        if rules.seconds * size <= AT_ONCE:
            view.time.limit = TimeLimit(AT_ONCE, self._clock)
            # Out of time, or a bug of ours: it is asked again below, and the log has that.
            with suppress(Exception):
                return Judged(judge_view(rules, view))
        last = TimeLimit(LONGEST, self._clock)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._ask, rules, view, last)

    def _ask(self, rules: RuleBook, view: ChatView, last: TimeLimit) -> Judged:
        """In a thread. What was found out about the chat is remembered by its view."""
        chat = view.chat
        view.time.limit = last.within(FOR_A_CHAT)
        try:
            return Judged(judge_view(rules, view))
        except OutOfTime as late:
            log.warning("chat %s/%s: %s; each rule is asked by itself", chat.account, chat.id, late)
        except Exception:
            # A bug of ours must not cost a chat: what can be asked is, and it can be replayed.
            log.exception("chat %s/%s: a rule could not be asked", chat.account, chat.id)
        verdicts, failed = rules.verdicts_where_possible(view, lambda: last.within(FOR_A_RULE))
        names = ", ".join(failed) or "none by itself"
        log.error("chat %s/%s: rules that could not be asked: %s", chat.account, chat.id, names)
        trouble = f"rules that could not be asked: {names}; the log says why"
        return Judged(judgement_of(verdicts), trouble, failed)

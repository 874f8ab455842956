"""Operations on jobs, which are long work: backtests, searches in messages, trials of mutes, and sending many deliveries again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct, structs

from relay.console.chat_list_page import WORD_SEARCH, chats_with_words, word_search
from relay.console.draft_pages import PERIODS, past_trial, text_in_force
from relay.console.jobs import Job, TooManyJobs, Work
from relay.console.jobs import State as JobState
from relay.console.json_api.api_request import BASE, Call, Reason, copied
from relay.console.json_api.chat_json import ListedChat, chats_listed
from relay.console.json_api.mute_operations import MuteScope, mute_in_scope
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, missing
from relay.console.json_api.rules_operations import usable_rules
from relay.console.logged_acts import act_of, write_act
from relay.console.mute_page import TRIAL as MUTE
from relay.console.mute_page import mute_trial
from relay.console.resend_page import KIND as RESEND
from relay.console.resend_page import MOST, resending
from relay.outbox.user_accounts import Role
from relay.services.find_chats import StoredChat
from relay.services.find_deliveries import failed_by_cause
from relay.services.live_backtest import Numbers
from relay.services.resend import ResentMany
from relay.services.search_transcripts import FoundWords, WordHits

jobs = Operations("Jobs")
BACKTEST = "past"


class Period(StrEnum):
    """How far back chats are looked at."""

    HOUR = "1h"
    WEEK = "7d"
    MONTH = "30d"
    ALL = "all"


class BacktestRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A rules text to try on past chats."""

    text: Annotated[str, Meta(max_length=1_000_000, description="Of a rules file.")]
    period: Period = Period.WEEK
    """How far back chats are looked at: an hour, 7 or 30 days, or all that is kept."""


class ResendRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A group of deliveries that failed for the same reason."""

    group: Annotated[str, Meta(max_length=100, description="`id` of one of `/deliveries/causes`.")]
    expect: Annotated[int, Meta(ge=1, description="Its `count`, as a confirmation.")]


class WordsRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """The text to search for in messages."""

    words: Annotated[
        Reason,
        Meta(
            description="A part of what a visitor or an agent wrote, or of a rating's comment. Case and accents don't matter."
        ),
    ]


class JobName(Struct, forbid_unknown_fields=True):
    """A path that ends with a job's id."""

    id: Annotated[str, Meta(max_length=100)]
    """The `id` of the job."""


class ResendCount(Struct, kw_only=True):
    """How many deliveries were sent again so far."""

    total: int
    """How many deliveries there are."""
    queued: int
    """How many were queued again."""
    passed_by: int
    """How many were skipped, because they were no longer failed."""
    left: int
    """How many are still to be queued."""


class ChatWithWords(ListedChat, kw_only=True):
    """A chat in which the words were found. Visitors' texts are unescaped: escape them before showing."""

    found: FoundWords | None
    """The words, with what stands around them; null where the hook in which they stood is no longer kept."""


class FoundByWords(Struct, kw_only=True):
    """The chats found so far by a search in messages."""

    chats: list[ChatWithWords]
    """The chats, newest first, at most 100, without those that were erased meanwhile."""
    back_to: datetime | None
    """When the oldest searched hook came in, in UTC; null before the first."""
    is_cut: bool
    """Whether older chats were not searched, because enough was found or read."""


class HeldByMute(Struct, kw_only=True):
    """What a mute would have held back in the last seven days, by the rules in force."""

    chats: int
    """How many chats."""
    notifications: int
    """How many notifications: one for each destination of each rule."""


class JobAnswer(Struct, kw_only=True):
    """The state of a job, which can be read until 15 minutes after its end, with the token that began it."""

    id: str
    """The id of the job."""
    location: str
    """The path of the job: GET reads its state, DELETE stops it."""
    state: JobState
    """The state of the job."""
    done: int
    """How many hooks were read or deliveries sent, of `total`."""
    total: int
    """How many hooks or deliveries there are; 0 until that is known."""
    why: str
    """Why the job failed; empty unless it did."""
    ended_at: datetime | None
    """When it ended, in UTC; null while it is under way."""
    backtest: Numbers | None
    """The numbers of a backtest so far; null for other jobs."""
    resends: ResendCount | None
    """How many deliveries were sent again so far; null for other jobs."""
    words: FoundByWords | None
    """The chats found by a search so far; null for other jobs."""
    mute: HeldByMute | None
    """The result of a trial of a mute, at its end; null before, and for other jobs."""


@jobs.operation(HttpMethod.POST, "/backtests", Role.EDITOR, status=202, refusals=(429,))
async def begin_backtest(call: Call, body: BacktestRequest) -> JobAnswer:
    """Try a rules text on past chats, and compare it with the rules in force. Nothing is sent."""
    running, after = call.running, body.text.encode("utf-8", "replace")
    await usable_rules(call, after)
    before, period = await text_in_force(running), PERIODS[body.period.value]
    work = past_trial(running, before, after, period, call.api.jobs.spare)
    return await _answer(call, _start(call, BACKTEST, work, alone=True))


@jobs.operation(
    HttpMethod.POST, "/resends", Role.EDITOR, status=202, refusals=(404, 429), once=True
)
async def begin_resends(call: Call, body: ResendRequest) -> JobAnswer:
    """Send again all deliveries that failed for the same reason."""
    groups, _ = await failed_by_cause(call.sessions, limit=MOST)
    group = next((each for each in groups if each.id == body.group), None)
    if group is None:
        raise missing("such group of failed deliveries any more")
    count = len(group.deliveries)
    if body.expect != count:
        words = f"There are {count} such deliveries now, and not {body.expect}."
        raise Refusal(409, words, kind="another-count")
    act = act_of(call.caller, "send all again", group.destination, str(count))
    with _refuse_too_many():
        call.api.jobs.refuse_too_many(call.caller)
    await write_act(call.sessions, act, call.now, call.key)
    work = resending(call.running, group, act.by)
    return await _answer(call, _start(call, RESEND, work, is_counted=True))


@jobs.operation(HttpMethod.POST, "/chats/words", Role.VIEWER, status=202, refusals=(429,))
async def begin_word_search(call: Call, body: WordsRequest) -> JobAnswer:
    """Search the messages of chats, newest first. The searched text is not stored."""
    work = word_search(call.running, body.words.strip())
    return await _answer(call, _start(call, WORD_SEARCH, work, alone=True))


@jobs.operation(HttpMethod.POST, "/mutes/try", Role.EDITOR, status=202, refusals=(429,))
async def begin_mute_trial(call: Call, body: MuteScope) -> JobAnswer:
    """Count what a mute would have held back in the last seven days. Nothing is muted."""
    mute, _ = mute_in_scope(call, body)
    return await _answer(call, _start(call, MUTE, mute_trial(call.running, mute), alone=True))


@jobs.operation(HttpMethod.GET, "/jobs/{id}", Role.VIEWER)
async def get_job(call: Call, path: JobName) -> JobAnswer:
    """The state of a job, and its result so far."""
    return await _answer(call, _job_called(call, path.id))


@jobs.operation(HttpMethod.DELETE, "/jobs/{id}", Role.VIEWER)
async def stop_job(call: Call, path: JobName) -> JobAnswer:
    """Stop a job; what it has done stays done."""
    job = _job_called(call, path.id)
    await call.api.jobs.stop(job)
    return await _answer(call, job)


def _start(
    call: Call, kind: str, work: Work, *, alone: bool = False, is_counted: bool = False
) -> Job:
    """A new job. Raises Refusal where there are too many."""
    with _refuse_too_many():
        return call.api.jobs.start(
            call.caller, kind, work, back="/", alone=alone, is_counted=is_counted
        )


@contextmanager
def _refuse_too_many() -> Iterator[None]:
    """Raises Refusal in place of TooManyJobs."""
    try:
        yield
    except TooManyJobs:
        raise Refusal(429, "Too many jobs of yours are under way.") from None


def _job_called(call: Call, id_: str) -> Job:
    """The job with this id. Raises Refusal where there is none."""
    job = call.api.jobs.find(call.caller, id_)
    if job is None or job.kind not in {BACKTEST, RESEND, WORD_SEARCH, MUTE}:
        raise missing("such job of yours")
    return job


async def _with_words(
    matches: Sequence[tuple[StoredChat, FoundWords | None]],
) -> list[ChatWithWords]:
    chats = await chats_listed([each for each, _ in matches])
    return [
        ChatWithWords(**structs.asdict(each), found=words)
        for each, (_, words) in zip(chats, matches, strict=True)
    ]


async def _found(call: Call, words: WordHits) -> FoundByWords:
    chats = await _with_words(await chats_with_words(call.running, words))
    return copied(FoundByWords, words, chats=chats)


async def _answer(call: Call, job: Job) -> JobAnswer:
    value = job.value
    count = value if isinstance(value, ResentMany) else None
    words = value if isinstance(value, WordHits) else None
    held = value[1] if job.kind == MUTE and value else None
    return JobAnswer(
        id=job.id,
        location=f"{BASE}/jobs/{job.id}",
        state=job.state,
        done=job.done,
        total=job.total,
        why=job.why,
        ended_at=job.ended_at,
        backtest=value if isinstance(value, Numbers) else None,
        resends=copied(ResendCount, count) if count else None,
        words=await _found(call, words) if words else None,
        mute=HeldByMute(chats=held.chats, notifications=held.notifications) if held else None,
    )

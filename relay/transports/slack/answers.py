"""What Slack answered -> how the attempt ended (docs/delivery.md tells what follows)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from relay.outcome import Ending, Outcome
from relay.transports.far_end import in_its_words, retry_after, wait_asked, wait_named
from relay.transports.http import TAKEN_IN_BETWEEN, by_status, is_page

PAUSE = timedelta(seconds=30)
"""Where Slack says "too many" without saying until when."""
LONG = timedelta(minutes=10)
"""For workspaces that are being moved into an organisation, or have used up their plan's messages."""

_TOO_LONG_OR_ODD = {
    "invalid_payload",
    "invalid_blocks",
    "invalid_blocks_format",
    "invalid_arguments",
    "invalid_attachments",
    "msg_too_long",
    "msg_blocks_too_long",
    "no_text",
    "markdown_text_conflict",
}
_BROKEN = {
    "access_denied",
    "accesslimited",
    "account_inactive",
    "action_prohibited",
    "cannot_reply_to_message",
    "channel_is_archived",
    "channel_not_found",
    "ekm_access_denied",
    "enterprise_is_restricted",
    "invalid_auth",
    "invalid_token",
    "is_archived",
    "messages_tab_disabled",
    "missing_scope",
    "no_active_hooks",
    "no_permission",
    "no_service",
    "no_service_id",
    "no_team",
    "not_allowed_token_type",
    "not_authed",
    "not_in_channel",
    "posting_to_general_channel_denied",
    "team_access_not_granted",
    "team_disabled",
    "team_not_found",
    "token_expired",
    "token_revoked",
    "two_factor_setup_required",
    "user_not_found",
}
_UNSURE = {"internal_error", "fatal_error", "service_unavailable", "rollup_error"}
_SLOW_MOVES = {"message_limit_exceeded", "org_login_required", "team_added_to_org"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer of Slack's, webhook or API."""

    status: int
    word: str = ""
    """What it calls the error: the webhook's body, the API's `error`."""
    more: str = ""
    """Details beyond the word, such as which block was wrong."""
    headers: Mapping[str, str] = field(default_factory=dict)
    odd: bool = False
    """A success by its status, whose body is not quite the one that Slack sends."""
    foreign: bool = False
    """A success by its status that Slack can't have sent."""


def webhook_answer(status: int, body: str, headers: Mapping[str, str]) -> Answer:
    """One that is not the usual yes, which is 200 and `ok`: Slack's webhooks answer others with one word."""
    success = 200 <= status < 300
    foreign = success and is_page(body)
    return Answer(status=status, word=body.strip(), headers=headers, odd=success, foreign=foreign)


def api_answer(status: int, data: Any, headers: Mapping[str, str]) -> Answer:  # noqa: ANN401 - JSON
    """Slack's API answers a JSON object with `ok`, errors with status 200 too and then with `error`."""
    success = 200 <= status < 300
    if not isinstance(data, Mapping):
        return Answer(status=status, headers=headers, odd=success, foreign=success)
    metadata = data.get("response_metadata")
    found = metadata.get("messages") if isinstance(metadata, Mapping) else None
    notes = list(found) if isinstance(found, list) else []
    if scope := data.get("needed"):
        notes.append(f"the bot needs {scope}")
    ok, word = data.get("ok"), data.get("error", "")
    return Answer(
        status=status,
        word=str(word),
        more="; ".join(map(str, notes)),
        headers=headers,
        odd=success and (ok is not False or not word),
        foreign=success and not word and (ok is False or ok is None),
    )


def text_answer(status: int, body: str, headers: Mapping[str, str], *, is_whole: bool) -> Answer:
    """An answer of the API that is not JSON. What begins as Slack's JSON does, or not at all, may be a yes cut off."""
    word, success = body.strip(), 200 <= status < 300
    may_be_slacks = word.startswith("{") or not (word or is_whole)
    foreign = success and not may_be_slacks
    return Answer(status=status, word=word, headers=headers, odd=success, foreign=foreign)


def sort(answer: Answer, now: datetime, secrets: Iterable[str] = ()) -> Outcome:
    """How an attempt ended that Slack did not answer with success."""
    said = f"Slack answered {answer.status} {answer.word} {answer.more}"
    detail = in_its_words(said, secrets)
    if answer.foreign:
        return Outcome(Ending.LATER, f"{detail}, {TAKEN_IN_BETWEEN.format('Slack')}")
    if answer.odd:
        # Most likely posted: Slack's workflow webhooks answer with nothing (grafana/alerting#183).
        return Outcome(Ending.MAYBE_DELIVERED, f"{detail}, which is not its usual yes", hold=True)
    if answer.status == 429 or answer.word in {"ratelimited", "rate_limited"}:
        wait = wait_asked(retry_after(answer.headers), now, PAUSE)
        return Outcome(Ending.RATE_LIMITED, detail, wait)
    # The API says no with 200 too; a word that we don't know is shown.
    ending = _by_word(answer.word) or (
        Ending.REFUSED if answer.status == 200 else by_status(answer.status)
    )
    return Outcome(
        ending,
        detail,
        LONG if answer.word in _SLOW_MOVES else wait_named(answer.headers, now),
        shorten=answer.word in _TOO_LONG_OR_ODD or answer.status == 413,
    )


def _by_word(word: str) -> Ending | None:
    if word in _TOO_LONG_OR_ODD:
        return Ending.REFUSED
    if word in _BROKEN or word.startswith("restricted_action"):
        return Ending.DESTINATION_BROKEN
    if word in _UNSURE:
        return Ending.MAYBE_DELIVERED
    if word in _SLOW_MOVES or word == "request_timeout":
        return Ending.LATER
    return None

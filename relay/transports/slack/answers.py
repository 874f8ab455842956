"""Converts Slack's answer to the outcome of the attempt; see docs/delivery.md."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from relay.languages import N_
from relay.transports import Ending, Outcome, clean_answer
from relay.transports.cures import CHECK, FAILED, RESUME, SEND_TEST, Row, row_for
from relay.transports.http import TAKEN_IN_BETWEEN, is_page, wait_asked, wait_named

PAUSE = timedelta(seconds=30)
"""The wait after a rate limit without a Retry-After header."""
LONG = timedelta(minutes=10)
"""The wait for workspaces that are being migrated to an organisation, or have used up their plan's messages."""


def _row(
    words: str, ending: Ending, cure: str, command: str = "", more: str = "", *, once: str = ""
) -> Row:
    """Return a row for Slack's names of an error, with `*` for any ending. `more` is a further pattern."""
    each = words.split()
    pattern = "|".join(re.escape(word).replace(r"\*", r"\w*") for word in each)
    answers = ", ".join(f"`{word}`" for word in each)
    called = rf"Slack answered \d+ (?:{pattern})(?!\w)"
    return Row(answers, ending, cure, command, f"{called}|{more}" if more else called, once)


_BROKEN, _LATER = Ending.DESTINATION_BROKEN, Ending.LATER
_TOO_LONG_OR_ODD = _row(
    "invalid_payload invalid_blocks invalid_blocks_format invalid_arguments invalid_attachments msg_too_long"
    " msg_blocks_too_long no_text markdown_text_conflict",
    Ending.REFUSED,
    N_(
        "Slack can't take the post, nor its short form: correct the template's slack.json if you have one, or report a fault."
    ),
    FAILED,
    r"Slack answered 413\b",
)
_SLOW_MOVES = _row(
    "message_limit_exceeded org_login_required team_added_to_org",
    _LATER,
    N_(
        "The workspace is being moved, or has used up its plan: the relay tries again until Slack takes posts."
    ),
    once=N_("The workspace is being moved, or has used up its plan: wait until Slack takes posts."),
)
_WEBHOOK_GONE = _row(
    "no_service no_service_id no_active_hooks invalid_token",
    _BROKEN,
    N_(
        "The webhook is no longer valid: make a new one for the channel, and put its URL into the settings."
    ),
    SEND_TEST,
)
_RATE_LIMITED = _row(
    "ratelimited rate_limited",
    Ending.RATE_LIMITED,
    N_("Nothing needs to be done: the relay waits as long as the service asks."),
    once=N_("The service asks to wait: send the test again later."),
    more=r"Slack (?:answered 429\b|asked all posts to wait)",
)
_OTHER = Row(
    "any other word",
    Ending.REFUSED,
    N_(
        "Slack refused the post: its page about chat.postMessage explains the word that it gave as the reason."
    ),
    FAILED,
    r"Slack answered [234]\d\d\b",
)
ROWS = (
    _row(
        "not_in_channel",
        _BROKEN,
        N_("The bot is not in the channel: write /invite and its name there."),
        RESUME,
    ),
    _row(
        "channel_not_found user_not_found",
        _BROKEN,
        N_(
            "The channel is gone, or the bot does not see it: check the ID in the rules file, and invite the bot."
        ),
        RESUME,
    ),
    _row(
        "channel_is_archived is_archived",
        _BROKEN,
        N_("The channel is archived: unarchive it in Slack, or name another one."),
        RESUME,
    ),
    _row(
        "cannot_reply_to_message messages_tab_disabled",
        _BROKEN,
        N_(
            "Nothing can be posted at this place in Slack: name the ID of a channel in the rules file."
        ),
        SEND_TEST,
    ),
    _WEBHOOK_GONE,
    _row(
        "no_team team_disabled team_not_found",
        _BROKEN,
        N_("The workspace is gone or turned off: ask an administrator of it."),
        RESUME,
    ),
    _row(
        "invalid_auth not_authed",
        _BROKEN,
        N_("The token is wrong: copy the Bot User OAuth Token into RELAY_SLACK_TOKEN again."),
        CHECK,
    ),
    _row(
        "not_allowed_token_type",
        _BROKEN,
        N_(
            "The token is not that of a bot: copy the one that begins with xoxb- into RELAY_SLACK_TOKEN."
        ),
        CHECK,
    ),
    _row(
        "account_inactive token_revoked",
        _BROKEN,
        N_(
            "The app was removed from the workspace: install it again, and copy its new token into RELAY_SLACK_TOKEN."
        ),
        CHECK,
    ),
    _row(
        "token_expired",
        _BROKEN,
        N_(
            "The token has expired: turn off token rotation, install the app again, and copy the new token into RELAY_SLACK_TOKEN."
        ),
        CHECK,
    ),
    _row(
        "missing_scope",
        _BROKEN,
        N_(
            "The app lacks a scope, which Slack names: add it, install the app again, and copy its token if that has changed."
        ),
        CHECK,
        "the bot lacks ",
    ),
    _row(
        "access_denied accesslimited action_prohibited ekm_access_denied enterprise_is_restricted no_permission"
        " posting_to_general_channel_denied restricted_action* team_access_not_granted two_factor_setup_required",
        _BROKEN,
        N_("The workspace does not let the app post there: ask an administrator of it."),
        RESUME,
    ),
    _RATE_LIMITED,
    _SLOW_MOVES,
    _row(
        "request_timeout",
        _LATER,
        N_("Slack did not get the whole post: the relay sends it again by itself."),
        more=r"Slack answered (?:408|421|425|511|521|523|525|526|530)\b",
        once=N_("Slack did not get the whole post: send the test again."),
    ),
    _row(
        "internal_error fatal_error service_unavailable rollup_error",
        Ending.MAYBE_DELIVERED,
        N_(
            "Slack has trouble of its own: look in the channel whether the post arrived before you send it again."
        ),
        FAILED,
        r"Slack answered (?:1|5)\d\d\b|which is not its usual yes",
    ),
    _TOO_LONG_OR_ODD,
    Row(
        "`401`, `402`, `403`, `404`, `405`, `407`, `410` and no word of the above",
        _BROKEN,
        _WEBHOOK_GONE.cure,
        SEND_TEST,
        r"Slack answered 4(?:01|02|03|04|05|07|10)\b",
    ),
    _OTHER,
)
"""The rows for Slack's answers, in the order in which they are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer of a Slack webhook or of Slack's API."""

    status: int
    word: str = ""
    """Slack's name of the error: the webhook's body, or `error` of the API."""
    more: str = ""
    """Details beyond the error's name, such as which block was invalid."""
    headers: Mapping[str, str] = field(default_factory=dict)
    odd: bool = False
    """Whether the status is a success but the body is not quite Slack's."""
    foreign: bool = False
    """Whether the status is a success but the answer can't come from Slack."""


def webhook_answer(status: int, body: str, headers: Mapping[str, str]) -> Answer:
    """Return the answer of a webhook that is not the usual success (200 and `ok`); an error's body is one word."""
    success = 200 <= status < 300
    foreign = success and is_page(body)
    return Answer(status=status, word=body.strip(), headers=headers, odd=success, foreign=foreign)


def api_answer(status: int, data: Any, headers: Mapping[str, str]) -> Answer:  # noqa: ANN401 - JSON
    """Return the answer of the API: a JSON object with `ok` and, for errors, `error`, even with status 200."""
    success = 200 <= status < 300
    if not isinstance(data, Mapping):
        return Answer(status=status, headers=headers, odd=success, foreign=success)
    metadata = data.get("response_metadata")
    messages = metadata.get("messages") if isinstance(metadata, Mapping) else None
    notes = list(messages) if isinstance(messages, list) else []
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
    """Return an answer of the API that is not JSON; one that is empty or begins like JSON may be a success."""
    word, success = body.strip(), 200 <= status < 300
    may_be_slacks = word.startswith("{") or not (word or is_whole)
    foreign = success and not may_be_slacks
    return Answer(status=status, word=word, headers=headers, odd=success, foreign=foreign)


def sort(answer: Answer, now: datetime, secrets: Iterable[str] = ()) -> Outcome:
    """Return the outcome of an attempt to which Slack did not answer with success."""
    text = f"Slack answered {answer.status} {answer.word} {answer.more}"
    detail = clean_answer(text, secrets)
    if answer.foreign:
        return Outcome(Ending.LATER, f"{detail}, {TAKEN_IN_BETWEEN.format('Slack')}")
    if answer.odd:
        # Most likely posted: Slack's workflow webhooks answer with an empty body (grafana/alerting#183).
        return Outcome(Ending.MAYBE_DELIVERED, f"{detail}, which is not its usual yes", hold=True)
    row = row_for(ROWS, text) or _OTHER
    if row is _RATE_LIMITED:
        wait = wait_asked(answer.headers, now, PAUSE)
        return Outcome(row.ending, detail, wait)
    return Outcome(
        row.ending,
        detail,
        LONG if row is _SLOW_MOVES else wait_named(answer.headers, now),
        shorten=row is _TOO_LONG_OR_ODD,
    )

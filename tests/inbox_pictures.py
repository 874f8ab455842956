"""Where a notification is seen before it is opened: an inbox, a phone's lock screen, Teams' activity feed.

Each is drawn with what really goes there: a mail's subject and the first words of its HTML, the `text` of a Slack post,
the `summary` of a Teams post.
"""

import json
from collections.abc import Callable, Iterable
from html import escape

from relay.notification import Notification
from relay.preview.lookalike.mail_inbox import inbox_words
from relay.transports.slack.pack import pack as slack_post
from relay.transports.teams.pack import pack as teams_post

Told = Callable[[], Iterable[Notification]]

_PAGE = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><style>
:root {{ --ink: #1f2328; --soft: #59636e; --line: #e3e6ea; --paper: #fff; --ground: #eef0f3 }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8eaed; --soft: #9aa3ad; --line: #353a42; --paper: #1c1f24; --ground: #101216 }} }}
* {{ box-sizing: border-box; margin: 0 }}
body {{ background: var(--ground); color: var(--ink); font: 14px/20px system-ui, sans-serif; padding: 16px }}
b, .one {{ overflow: hidden; text-overflow: ellipsis; white-space: nowrap }}
.soft {{ color: var(--soft) }}
.row {{ display: grid; grid-template-columns: 150px minmax(0, 1fr) 48px; gap: 12px; padding: 9px 14px;
  background: var(--paper); border-bottom: 1px solid var(--line) }}
.card {{ background: var(--paper); border-radius: 14px; padding: 10px 14px; margin-bottom: 8px }}
.few {{ display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden }}
.two {{ -webkit-line-clamp: 2 }}
@media (max-width: 600px) {{ .row {{ grid-template-columns: minmax(0, 1fr) 48px; gap: 0 8px }}
  .row .line {{ grid-column: 1 / 3; grid-row: 2 }} .line b, .line .soft {{ display: block }}
  .line .dash {{ display: none }} }}
</style>{content}"""


def inbox(told: Told) -> str:
    """Sender, subject and preheader, cut as a mail program cuts them."""
    rows = [
        f'<div class="row"><b>Chat relay</b><div class="one line"><b>{escape(each.subject)}</b>'
        f'<span class="soft dash"> – </span><span class="soft one">{escape(inbox_words(each.html))}</span></div>'
        f'<span class="soft">9:{59 - 4 * place:02}</span></div>'
        for place, each in enumerate(told())
    ]
    return _PAGE.format(content="".join(rows))


def lock_screen(told: Told) -> str:
    """What Slack's app shows of a post: four lines of its text."""
    cards = [
        f'<div class="card"><p class="soft">Slack · #support</p><p class="few">{post}</p></div>'
        for post in (slack_post(each)["text"] for each in told())  # escaped as HTML is
    ]
    return _PAGE.format(content="".join(cards))


def activity(told: Told) -> str:
    """What Teams' feed shows of a post: two lines of its summary."""
    cards = [
        f'<div class="card"><b>Workflows</b><p class="soft few two">{escape(said)}</p></div>'
        for said in (json.loads(teams_post(each))["summary"] for each in told())
    ]
    return _PAGE.format(content="".join(cards))

"""Documents every name and filter that templates can use, for `relay fields --templates` and docs/templates.md.

Example values are computed by the code that renders notifications.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.chat import CHAT_SYNONYMS
from relay.rendering.template_data import Plain
from relay.text import nearest


@dataclass(frozen=True, slots=True)
class Name:
    """A name that templates may use in `{{ }}`, with its kind and meaning."""

    name: str
    kind: str
    """One of `text`, `number`, `seconds`, `time`, `yes or no`, `list` and `mapping`."""
    doc: str


CHAT = (
    Name("chat.account", "text", "the Smartsupp account"),
    Name("chat.id", "text", "with the account it names the chat"),
    Name("chat.kind", "text", "`missed`, `offline` or `finished`"),
    Name("chat.began", "time", "when it began; for `date`, `time` and `datetime`"),
    Name("chat.ended", "time", "when it ended"),
    Name("chat.missed", "yes or no", "no agent answered the visitor's last message"),
    Name("chat.offline", "yes or no", "a message left while nobody was there"),
    Name("chat.dropped", "yes or no", "Smartsupp calls it dropped; its pages don't say when it does"),
    Name("chat.completed", "yes or no", "closed, and every message of the visitor was answered"),
    Name("chat.triggered", "yes or no", "at least one automatic message was sent"),
    Name("chat.answered_chat", "yes or no", "the visitor and an agent both wrote"),
    Name("chat.unanswered", "yes or no", "the visitor wrote and no agent wrote at all"),
    Name("chat.bot_only", "yes or no", "the visitor got only automatic answers"),
    Name("chat.duration", "seconds", "how long it lasted; for `duration`"),
    Name("chat.first_response", "seconds", "until the first answer"),
    Name("chat.average_response", "seconds", "until an answer, on average"),
    Name("chat.waited", "seconds", "how long the visitor had waited at the end"),
    Name("chat.message_count", "number", "messages"),
    Name("chat.word_count", "number", "words"),
    Name("chat.rating", "number", "1 (worst) to 5"),
    Name("chat.rating_comment", "text", "what the visitor wrote to the rating"),
    Name("chat.agents", "list", "the names of those who answered; for `join`"),
    Name("chat.question", "text", "of a missed chat the first unanswered message, else the visitor's first one"),
    Name("chat.last_words", "text", "the visitor's last message"),
)  # fmt: skip
"""The names of a chat. A value that Smartsupp did not send is `none` and writes nothing."""

VISITOR = (
    Name("visitor.called", "text", "what to call them: the name, else the address, else “a visitor”"),
    Name("visitor.name", "text", "the name"),
    Name("visitor.email", "text", "what they gave as their email address"),
    Name("visitor.address", "text", "the same if it can be an address, else empty"),
    Name("visitor.mail_link", "text", "a link to that address"),
    Name("visitor.answer_link", "text", "the same with a subject and `chat.question` as a quotation"),
    Name("visitor.note", "text", "your note on them in Smartsupp"),
    Name("visitor.group", "text", "the group of agents that they were sent to"),
    Name("visitor.city", "text", "as Smartsupp sends it; sometimes city and country are swapped"),
    Name("visitor.country_code", "text", "two letters; for `country`"),
    Name("visitor.country", "text", "in Smartsupp's words; the code is the surer one"),
    Name("visitor.variables", "mapping", "`visitor.variables.plan` is the value of the variable `plan`, empty if there is none"),
    Name("visitor.id", "text", "Smartsupp's number"),
    Name("visitor.ip", "text", "the IP address"),
    Name("visitor.platform", "text", "as the browser says"),
    Name("visitor.user_agent", "text", "as the browser says"),
    Name("visitor.referer", "text", "the page that led to yours"),
)  # fmt: skip

AROUND = (
    Name("rule", "text", "the name of the rule that asked for this"),
    Name("language", "text", "of the destination"),
    Name("direction", "text", "`rtl` where the language is written from right to left, else `ltr`"),
    Name("timezone", "text", "of the destination; all times are in it"),
    Name("reply_to", "text", "where a reply to the mail goes (`reply_to:` of the destination); empty if it reaches nobody but the relay"),
    Name("public_url", "text", "`RELAY_PUBLIC_URL`; may be empty"),
    Name("tone", "text", "`bad`, `good` or `neutral`: the colours hang on it"),
    Name("variables", "list", "the visitor's variables"),
    Name("pages", "list", "the last 8 pages that they saw, the latest first"),
    Name("earlier_pages", "number", "how many pages were left out"),
    Name("subject", "text", "what `subject.txt` wrote; in the footer and the bodies only"),
    Name("summary", "text", "what `summary.txt` wrote; in the footer and the bodies only"),
    Name("facts", "list", "what `facts.txt` wrote; in the bodies only"),
    Name("facts_left_out", "number", "how many more lines `facts.txt` wrote than are shown; in the bodies only"),
    Name("footer", "text", "what `footer.txt` wrote; in the bodies only"),
    Name("transcript", "mapping", "what was said; in the bodies only"),
    Name("transcript.head", "list", "its first messages, or all"),
    Name("transcript.left_out", "number", "how many were left out after those, for want of room"),
    Name("transcript.tail", "list", "its last messages"),
)  # fmt: skip

ENTRIES = (
    Name("variable.key", "text", "by which `visitor.variables` has it"),
    Name("variable.label", "text", "what your site calls it"),
    Name("variable.value", "text", "or a number, or yes or no"),
    Name("page.url", "text", "as the browser said; may be anything"),
    Name("page.title", "text", "as the browser said"),
    Name("page.host", "text", "of the address; empty for what is none"),
    Name("page.link", "text", "the address if it may be a link, else empty"),
    Name("fact.label", "text", "what stands before the colon"),
    Name("fact.value", "text", "what stands after it"),
    Name("message.author", "text", "`visitor`, `agent`, `automatic`, `system` or `unknown`"),
    Name("message.name", "text", "who wrote it; empty for `system`"),
    Name("message.text", "text", "what was written; the only text with line breaks in it"),
    Name("message.time", "text", "the clock time, with the day where that changed"),
    Name("message.gap", "text", "that the visitor had waited long, in words; mostly empty"),
    Name("message.again", "yes or no", "the same person as before, with no long wait between"),
    Name("message.continued", "yes or no", "the same person again, in the same minute"),
)  # fmt: skip
"""The names of list entries, as in `{% for page in pages %}`."""

LISTS = {
    "variable": "variables",
    "page": "pages",
    "fact": "facts",
    "message": "transcript.head",
}
"""The list that each kind of entry belongs to."""

NAMES = (*CHAT, *VISITOR, *AROUND, *ENTRIES)

_SYNONYMS: Mapping[str, str] = {
    **CHAT_SYNONYMS,
    **dict.fromkeys(("agent", "operator", "operators", "user", "answered_by"), "chat.agents"),
    **dict.fromkeys(("said", "text", "content", "words"), "chat.question"),
    **LISTS,
    **dict.fromkeys(("messages", "dialogue", "history", "log"), "transcript.head"),
    **dict.fromkeys(("waiting_time", "wait", "waiting"), "chat.waited"),
    **dict.fromkeys(
        ("start", "started", "time", "date", "day", "hour", "created_at"), "chat.began"
    ),
    **dict.fromkeys(("end", "closed", "finished", "finished_at"), "chat.ended"),
    **dict.fromkeys(("lang", "locale"), "language"),
    **dict.fromkeys(("tz", "zone", "time_zone"), "timezone"),
}
"""Maps names that people write by mistake to the names that templates have."""

_FILTER_SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys(("truncate", "shorten", "truncatechars", "slice", "substring"), "cut"),
    **dict.fromkeys(("capitalize", "capfirst", "ucfirst", "title"), "sentence"),
    **dict.fromkeys(("nl2br", "linebreaks", "linebreaksbr"), "breaks"),
    **dict.fromkeys(("strip", "striptrim"), "trim"),
    **dict.fromkeys(("uppercase", "toupper"), "upper"),
    **dict.fromkeys(("lowercase", "tolower", "downcase"), "lower"),
    **dict.fromkeys(("strftime", "format", "dateformat", "localtime"), "datetime"),
    **dict.fromkeys(("count", "size"), "length"),
    **dict.fromkeys(("d", "or"), "default"),
    **dict.fromkeys(("urlize", "url"), "web_link"),
    **dict.fromkeys(("filter", "where"), "select"),
    "indent": "indented",
    "domain": "host",
}


def nearest_name(name: str, here: Iterable[str] = ()) -> str:
    """Return the name that was probably meant, by its last part, meaning or spelling; empty if there is none.

    `here` are the keys of the value in which the name was looked up; they take precedence over
    similar names elsewhere.
    """
    known = [each.name for each in NAMES]
    last = name.rpartition(".")[2].casefold()
    meant = _SYNONYMS.get(last, last)
    if name in known or "<key>" in meant:
        return name if name in known else meant.replace("<key>", last)
    by_last = {each.rpartition(".")[2]: each for each in reversed(known)}
    if match := by_last.get(meant.rpartition(".")[2]):
        return match
    places = {each.partition(".")[0]: each.partition(".")[0] for each in known}
    near = nearest(last, here, 1) or nearest(last, {**places, **by_last}, 1, 0.8)
    return {**places, **by_last, **dict.fromkeys(here)}.get(near[0]) or near[0] if near else ""


def nearest_filter(name: str, known: Iterable[str]) -> str:
    """Return the filter that was probably meant; empty if there is none."""
    near = [_FILTER_SYNONYMS.get(name.casefold(), ""), *nearest(name, known, 1)]
    return next(filter(None, near), "")


EXAMPLES: Mapping[str, str] = {
    "time": "chat.began|time",
    "date": "chat.began|date",
    "datetime": "chat.began|datetime",
    "duration": "chat.waited|duration",
    "rating": "4.5|rating",
    "stars": "4|stars",
    "country": "visitor.country_code|country",
    "cut": "chat.question|cut(20)",
    "fit": '"Sofas & beds"|fit(12)',
    "sentence": '"a visitor"|sentence',
    "upper": "visitor.name|upper",
    "lower": "visitor.name|lower",
    "trim": '"  so  "|trim',
    "indented": '"one\\ntwo"|indented',
    "underlined": '"Pages"|underlined',
    "host": "visitor.referer|host",
    "web_link": '"javascript:alert(1)"|web_link',
    "breaks": '"one\\ntwo"|breaks',
    "direction": '"مرحبا"|direction',
    "join": '["Jana", "Petr"]|join(", ")',
    "default": 'visitor.note|default("no note", true)',
    "first": "(pages|first).title",
    "items": 'visitor.variables|items|map("join", "=")|join(", ")',
    "last": "(pages|last).title",
    "length": "pages|length",
    "list": "visitor.variables|list|length",
    "map": 'pages|map(attribute="host")|unique|join(", ")',
    "reject": '[0, 3, 5]|reject("eq", 0)|join(", ")',
    "rejectattr": 'pages|rejectattr("title", "eq", "Home")|map(attribute="title")|join(", ")',
    "select": '[0, 3, 5]|select("gt", 2)|join(", ")',
    "selectattr": 'pages|selectattr("link")|list|length',
    "sort": '[3, 1, 2]|sort|join(", ")',
    "unique": '["a", "b", "a"]|unique|join(", ")',
}
"""An example of each filter; its result is computed."""

JINJAS = {
    "default": "another value for a missing one; with `true` for an empty one too",
    "first": "the first of a list",
    "items": "a mapping as pairs of key and value",
    "last": "the last of a list",
    "length": "how many there are",
    "list": "a list of what `map`, `select` and the like give",
    "map": "one part of each, or each through a filter",
    "reject": "without those for which a test holds",
    "rejectattr": "without those for whose part a test holds",
    "select": "only those for which a test holds",
    "selectattr": "only those for whose part a test holds",
    "sort": "in order",
    "unique": "each only once",
}
"""The filters of Jinja that templates may use."""


def value_of(name: str, data: Mapping[str, Plain]) -> Plain:
    """Return an example value of a name; for a list's entry, the first one that is not empty."""
    first, _, rest = name.partition(".")
    if first in LISTS:
        column = value_of(LISTS[first], data)
        entries = (
            [each for each in column if isinstance(each, dict)] if isinstance(column, list) else []
        )
        return next((each[rest] for each in entries if each[rest] not in (None, "")), None)
    value = data.get(first)
    return value_of(rest, value) if rest and isinstance(value, dict) else value

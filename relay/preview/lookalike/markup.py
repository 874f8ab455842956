"""Building blocks of look-alikes: safe reading of unknown JSON, HTML that can't be broken out of, and Slack's mrkdwn as HTML."""

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from markupsafe import Markup, escape

Node = Mapping[str, object]
"""A JSON object of unknown contents."""

_SAFE_SCHEMES = frozenset({"http", "https", "mailto"})


def node(value: object) -> Node:
    """The value itself if it is an object, else an empty object."""
    return value if isinstance(value, Mapping) else {}


def nodes(value: object) -> list[Node]:
    """The members of a list, each as by `node`; empty for anything but a list."""
    return [node(item) for item in value] if isinstance(value, list) else []


def words(value: object) -> str:
    """A text or number as text; empty for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def choice(value: object, known: Sequence[str]) -> str:
    """Return the word in `known` that equals the value, whatever its case; empty if none does."""
    return next((word for word in known if word.lower() == words(value).lower()), "")


def joined(pieces: Sequence[Markup]) -> Markup:
    """Return pieces of safe HTML as one."""
    return Markup("").join(pieces)


def with_breaks(html: Markup) -> Markup:
    """Return safe HTML with `<br>` in place of line breaks."""
    return html.replace("\n", Markup("<br>"))


def is_safe(url: str) -> bool:
    """Whether the URL has a scheme that may become a link."""
    try:
        return urlsplit(url).scheme.lower() in _SAFE_SCHEMES
    except ValueError:
        return False


def link(url: str, label: str | Markup) -> Markup:
    """A link that sends no referrer; for schemes other than http(s) and mailto only the label."""
    if not is_safe(url):
        return escape(label)
    return Markup(
        '<a href="{}" title="{}" target="_blank" rel="noopener noreferrer nofollow">{}</a>'
    ).format(url, url, label)


def unknown(kind: object) -> Markup:
    """A note in place of an element of an unknown type."""
    name = words(kind)[:60] or "without a type"
    return Markup('<div class="unknown">unknown element: {}</div>').format(name)


class Placeholders:
    """Takes finished HTML out of a text and leaves a mark for each piece, while the rest is processed."""

    MARK = "\ufffc"
    """U+FFFC, object replacement character. One that is in the text itself must be kept, too."""

    def __init__(self) -> None:
        self._pieces: list[Markup] = []

    def keep(self, html: Markup) -> str:
        """Keep a piece of safe HTML; returns the mark that stands for it."""
        self._pieces.append(html)
        return self.MARK

    def put_back(self, html: str) -> Markup:
        """The text with the pieces in place of their marks. `html` is escaped, and has the marks in their original order."""
        pieces = iter(self._pieces)
        return Markup(re.sub(self.MARK, lambda _: next(pieces), html))  # noqa: S704 - both parts are escaped


def styled(escaped: str, pattern: re.Pattern[str], tags: Mapping[str, str]) -> str:
    """Escaped text with `*bold*` and the like as HTML tags, also nested.

    Each of the pattern's named groups matches the text between two marks; `tags` has the tag for its name. No group
    may match its own marks, which limits the recursion to the number of groups.
    """

    def replace(match: re.Match[str]) -> str:
        name = match.lastgroup or ""
        inner = styled(match[name], pattern, tags)
        return f"<{tags[name]}>{inner}</{tags[name]}>"

    return pattern.sub(replace, escaped)


def each(items: Sequence[Node], show: Callable[[Node], Markup]) -> Markup:
    """Return the safe HTML of all items, one after the other."""
    return joined([show(item) for item in items])


EMOJI = {
    "+1": "👍",
    "-1": "👎",
    "alarm_clock": "⏰",
    "angry": "😠",
    "arrow_right": "➡️",
    "bell": "🔔",
    "blue_heart": "💙",
    "busts_in_silhouette": "👥",
    "bust_in_silhouette": "👤",
    "calendar": "📆",
    "checkered_flag": "🏁",
    "clock1": "🕐",
    "confused": "😕",
    "crown": "👑",
    "disappointed": "😞",
    "email": "✉️",
    "envelope": "✉️",
    "envelope_with_arrow": "📩",
    "exclamation": "❗",
    "eyes": "👀",
    "fire": "🔥",
    "frowning": "😦",
    "gem": "💎",
    "globe_with_meridians": "🌐",
    "green_heart": "💚",
    "grey_question": "❔",
    "hand": "✋",
    "heart": "❤️",
    "heavy_check_mark": "✔️",
    "hourglass": "⌛",
    "hourglass_flowing_sand": "⏳",
    "house": "🏠",
    "inbox_tray": "📥",
    "incoming_envelope": "📨",
    "information_source": "ℹ️",  # noqa: RUF001 - the emoji's own letter
    "key": "🔑",
    "large_blue_circle": "🔵",
    "large_green_circle": "🟢",
    "large_orange_circle": "🟠",
    "large_yellow_circle": "🟡",
    "link": "🔗",
    "loudspeaker": "📢",
    "mag": "🔍",
    "mailbox_with_mail": "📬",
    "memo": "📝",
    "mega": "📣",
    "moon": "🌔",
    "no_bell": "🔕",
    "no_entry": "⛔",
    "office": "🏢",
    "ok": "🆗",
    "package": "📦",
    "paperclip": "📎",
    "pencil": "📝",
    "phone": "☎️",
    "question": "❓",
    "rage": "😡",
    "raised_hand": "✋",
    "red_circle": "🔴",
    "robot_face": "🤖",
    "rotating_light": "🚨",
    "shopping_trolley": "🛒",
    "slightly_frowning_face": "🙁",
    "slightly_smiling_face": "🙂",
    "smile": "😄",
    "smiley": "😃",
    "sos": "🆘",
    "sparkles": "✨",
    "speech_balloon": "💬",
    "star": "⭐",
    "star2": "🌟",
    "stopwatch": "⏱️",
    "tada": "🎉",
    "telephone": "☎️",
    "telephone_receiver": "📞",
    "thumbsdown": "👎",
    "thumbsup": "👍",
    "timer_clock": "⏲️",
    "triangular_flag_on_post": "🚩",
    "warning": "⚠️",
    "wave": "👋",
    "white_check_mark": "✅",
    "white_circle": "⚪",
    "wink": "😉",
    "x": "❌",
    "zap": "⚡",
    "zzz": "💤",
}


_FENCE = re.compile(r"```\n?(.+?)\n?```", re.DOTALL)
_QUOTED = re.compile(r"(?:>|&gt;) ?")
# Parts in which other marks have no effect. Every alternative ends at the first character that it can't have.
_OPAQUE = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|<(?P<angle>[^<>\n]+)>"
    r"|(?<!\w)(?P<url>https?://[^\s<>|`\ufffc]+(?<![.,;:!?)]))"
    r"|:(?P<emoji>[a-z0-9_+-]+):"
    r"|\ufffc"
)
_STYLES = re.compile(
    r"(?<![\w*])\*(?!\s)(?P<bold>[^*\n]+)(?<!\s)\*(?![\w*])"
    r"|(?<![\w_])_(?!\s)(?P<italic>[^_\n]+)(?<!\s)_(?![\w_])"
    r"|(?<![\w~])~(?!\s)(?P<strike>[^~\n]+)(?<!\s)~(?![\w~])"
)
_EMOJI = re.compile(r":([a-z0-9_+-]+):|\ufffc")
_TAGS = {"bold": "b", "italic": "i", "strike": "s"}
_EVERYBODY = ("here", "channel", "everyone")


def decoded(text: str) -> str:
    """The text without Slack's escapes: `&lt;`, `&gt;` and `&amp;`, and no other."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def plain_html(text: str, *, emoji: bool = True) -> Markup:
    """A `plain_text` object as HTML, with emoji names shown as emoji if `emoji`, and nothing else interpreted."""
    if not emoji:
        return with_breaks(escape(decoded(text)))
    pieces = Placeholders()
    masked = _EMOJI.sub(
        lambda match: pieces.keep(_emoji(match[1]) if match[1] else escape(match[0])), text
    )
    return with_breaks(pieces.put_back(escape(decoded(masked))))


def mrkdwn_html(source: str, *, verbatim: bool = False) -> Markup:
    """A `mrkdwn` text as HTML. With `verbatim` bare URLs do not become links, as in Slack."""
    pieces = []
    for index, piece in enumerate(_FENCE.split(source)):
        if index % 2:
            pieces.append(Markup("<pre>{}</pre>").format(decoded(piece)))
        elif piece:
            pieces.append(_paragraphs(piece, verbatim=verbatim))
    return Markup("").join(pieces)


def mention(name: str) -> Markup:
    """Return the safe HTML of a mentioned name."""
    return Markup('<span class="mention">{}</span>').format(name)


def _paragraphs(source: str, *, verbatim: bool) -> Markup:
    html = Markup("")
    for quoted, lines in _runs(source.split("\n")):
        inner = _inline("\n".join(lines), verbatim=verbatim)
        html += Markup("<blockquote>{}</blockquote>").format(inner) if quoted else inner
    return html


def _runs(lines: list[str]) -> list[tuple[bool, list[str]]]:
    """Consecutive lines grouped by whether they are quoted, without their quote marks."""
    runs: list[tuple[bool, list[str]]] = []
    for line in lines:
        mark = _QUOTED.match(line)
        text = line[mark.end() :] if mark else line
        if runs and runs[-1][0] == bool(mark):
            runs[-1][1].append(text)
        else:
            runs.append((bool(mark), [text]))
    return runs


def _inline(source: str, *, verbatim: bool) -> Markup:
    pieces = Placeholders()
    masked = _OPAQUE.sub(lambda match: pieces.keep(_opaque(match, verbatim=verbatim)), source)
    escaped = str(escape(decoded(masked)))
    return with_breaks(pieces.put_back(styled(escaped, _STYLES, _TAGS)))


def _opaque(match: re.Match[str], *, verbatim: bool) -> Markup:
    text = match[0]
    match match.lastgroup:
        case "code":
            return Markup("<code>{}</code>").format(decoded(text[1:-1]))
        case "angle":
            return _angle(text[1:-1])
        case "url":
            url = decoded(text)
            return escape(url) if verbatim else link(url, url)
        case "emoji":
            return _emoji(text[1:-1])
        case _:
            return escape(text)


def _angle(inside: str) -> Markup:
    target, _, label = inside.partition("|")
    shown = decoded(label)
    match target[0:1]:
        case "!" if target[1:].partition("^")[0] in _EVERYBODY:
            return mention(f"@{target[1:].partition('^')[0]}")
        case "!":
            # A user group or a date: the text after the bar is Slack's fallback.
            return mention(shown or f"@{target.rpartition('^')[2]}")
        case "@" | "#":
            return mention(target[0] + (shown or target[1:]))
    if is_safe(decoded(target)):
        return link(decoded(target), shown or decoded(target).removeprefix("mailto:"))
    return escape(f"<{decoded(inside)}>")


def _emoji(name: str) -> Markup:
    """An emoji with its name as tooltip; a name that Slack does not know stays as it was typed."""
    if name not in EMOJI:
        return escape(f":{name}:")
    return Markup('<span class="emoji" title=":{}:">{}</span>').format(name, EMOJI[name])

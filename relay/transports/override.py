"""Completes a template's own JSON for each transport: `slack.json`, `teams.json`, and `json:` of a webhook.

Values are escaped for their place, so that only the author can write links and mentions. Separate
from the registry, because rendering processes open no transport and need no HTTP.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from relay.links import is_safe, without_braces
from relay.notification import Finish, Json, Misfit, Mixed, Notification, Value
from relay.text import clean, cut, tidy, tidy_line, trimmed
from relay.transports.slack.blocks import MAX_VISIBLE, escape, escaped_width, width
from relay.transports.slack.pack import MOST_BLOCKS
from relay.transports.teams import card as teams
from relay.transports.webhook import pack as webhook

CAPS = (2_000, 800, 300, 120, 50, 20)
"""The maximum lengths of a value, tried in order until the whole fits."""
_AUTHORS = re.compile(r"(?:https?://[^/?#\s]+[/?#]|mailto:)\S*")
"""URLs whose scheme and host the author wrote, so that no value can decide where a link leads."""
Write = Callable[[Json, str, Mixed, int, str], str]
"""Writes a text: the object around it, its key, its parts, the most characters of a value, its place. Raises Misfit."""


def _fitting(tree: Any, write: Write, complete: Callable[[Json], Json]) -> Json:  # noqa: ANN401 - JSON
    """Return what `complete` makes of the JSON with the longest values that it accepts. Raises Misfit."""
    last = Misfit("is not a JSON object")
    for cap in CAPS if isinstance(tree, dict) else ():
        try:
            return complete(_filled(tree, write, cap, ""))
        except Misfit as misfit:
            last = misfit
    raise last


def _filled(node: Any, write: Write, cap: int, at: str) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON filled in; None for a list that became empty, and for an object, but the outermost, with one or with an empty text."""
    if isinstance(node, list):
        entries = [_filled(each, write, cap, f"{at}[{n}]") for n, each in enumerate(node)]
        # A list that the author wrote empty stays.
        return [each for each in entries if each is not None] or (None if node else node)
    if isinstance(node, Mixed):
        raise Misfit(f"{at}: a value can't stand in a list")
    if not isinstance(node, dict):
        return node
    filled = {}
    for name, each in node.items():
        place, is_text = f"{at}.{name}".strip("."), isinstance(each, Mixed)
        new = write(node, name, each, cap, place) if is_text else _filled(each, write, cap, place)
        if new is not None and (new or not is_text):
            filled[name] = new
        elif at:
            return None
    return filled


def _address(parts: Mixed, schemes: tuple[str, ...], at: str) -> str:
    """Return the author's URL with its values encoded; or a single value if it is a valid link, else an empty text."""
    first = parts[0] if parts else ""
    if isinstance(first, Value):
        return without_braces(first) if len(parts) == 1 and is_safe(first, *schemes) else ""
    if first and not (_AUTHORS.fullmatch(first) and first.startswith(schemes)):
        raise Misfit(f"{at}: an address begins with {' or '.join(schemes)} and its host")
    return "".join(_encoded(each) if isinstance(each, Value) else each for each in parts)


def _encoded(value: str) -> str:
    return quote(cut(clean(value), 300, lambda each: len(quote(each)), mark=""), safe="@")


def _objects(node: Any, owner: str) -> Iterator[tuple[Json, str]]:  # noqa: ANN401 - JSON
    """Yield all objects, each with the type of the object around it, or `fields`."""
    if isinstance(node, list):
        for each in node:
            yield from _objects(each, owner)
    elif isinstance(node, dict):
        yield node, owner
        for name, each in node.items():
            yield from _objects(each, name if name == "fields" else str(node.get("type", "")))


_SLACK = ("https://", "http://", "mailto:")
_LIMITS = {"header": 150, "button": 75, "fields": 2_000, "image": 2_000, "markdown": MAX_VISIBLE}
"""The most characters of a text by the object that contains it; 3,000 for others."""
_TAG = re.compile(r"<([^<>|]*)$")  # a link or mention whose URL is not complete yet


def finish_slack(tree: Any, notification: Notification) -> Json:  # noqa: ANN401, ARG001 - see Finish
    """Return the author's `blocks`, and `text` if they wrote one. Raises Misfit."""
    for each, _ in _objects(tree, ""):
        if each.get("type") == "mrkdwn" and isinstance(each.get("text"), Mixed):
            each["verbatim"] = True  # else Slack makes links of what a visitor typed
    return _fitting(tree, _slack_text, _checked_slack)


def _slack_text(node: Json, name: str, parts: Mixed, cap: int, at: str) -> str:
    kind, text = node.get("type"), ""
    if name == "url":
        return _address(parts, _SLACK, at)
    if name not in {"text", "alt_text"} or kind == "markdown":
        raise Misfit(f'{at}: a value can\'t be used here; it can in "text", "alt_text" and "url"')
    plain = name == "alt_text" or kind in {"text", "link", "raw_text"}
    for part in parts:
        if not isinstance(part, Value):
            text += part
        elif not plain and (tag := _TAG.search(text)):
            if (before := tag[1]).startswith(("@", "!", "#")):
                raise Misfit(f"{at}: a value can't decide who is mentioned")
            address = _address(Mixed(each for each in (before, part) if each), _SLACK, at)
            if not address:
                raise Misfit(f"{at}: a value is not an address to link to; use |web_link and if")
            text += escape(address.removeprefix(before))
        else:
            value = cut(trimmed(tidy(part)), cap, escaped_width)
            value = " ".join(value.split()) if kind == "plain_text" else value
            text += value if plain else escape(value)
    return text.strip()


def _checked_slack(message: Json) -> Json:
    blocks, text = message.get("blocks"), message.get("text", "")
    if others := message.keys() - {"blocks", "text"}:
        raise Misfit(f'"{min(others)}" can\'t be used here, only "blocks" and "text"')
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= MOST_BLOCKS:
        raise Misfit(f'needs "blocks", a list of 1 to {MOST_BLOCKS} that say something')
    shown = sum(_block_width(block, f"blocks[{n}]") for n, block in enumerate(blocks))
    if shown > MAX_VISIBLE or not isinstance(text, str) or len(text) > 3_000:
        raise Misfit(f'{shown:,} characters are shown; {MAX_VISIBLE:,} fit, and 3,000 in "text"')
    return message


def _block_width(block: Any, at: str) -> int:  # noqa: ANN401 - JSON
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str) or kind in {"input", "alert"}:
        raise Misfit(f'{at}: needs a "type", of a block for messages')
    shown = 0
    for each, owner in _objects(block, kind):
        most = _LIMITS.get(owner, 3_000)
        shown += (characters := width(text) if isinstance(text := each.get("text"), str) else 0)
        if characters > most:
            raise Misfit(f"{at}: a text of a {owner} has {characters:,} characters; {most:,} fit")
    return shown


_TEXTS = ("text", "title", "value", "altText", "fallbackText", "codeSnippet", "speak")
_MARKDOWN = {ord(sign): chr(ord(sign) + 0xFEE0) for sign in "[]()*_\\`<>~#|"}  # look-alikes
_OPEN = re.compile(r"<at\b(?!.*</at)[^<]*$|\]\([^()]*$", re.IGNORECASE | re.DOTALL)
"""An incomplete mention or link URL."""
_NOTHING, _HALVES = "\u200b", ("{", "<", "/")


def finish_teams(tree: Any, notification: Notification) -> Json:  # noqa: ANN401 - see Finish
    """Return the complete card, with the parts that each of the relay's cards has. Raises Misfit."""
    ours = teams.frame(notification)
    for each, _ in _objects(tree, ""):
        if each.get("type") == "TextBlock":
            each.setdefault("wrap", True)

    def complete(card: Json) -> Json:
        _check_card(card)
        card = {**ours, **card, "msteams": {**ours["msteams"], **card.get("msteams", {})}}
        if not teams.fits(post := teams.in_envelope(notification, card)):
            raise Misfit(f"the card has {len(post):,} bytes; a flow hands on {teams.MAX_BYTES:,}")
        return card

    return _fitting(tree, _teams_text, complete)


def _teams_text(node: Json, name: str, parts: Mixed, cap: int, at: str) -> str:
    if name == "url":
        return _address(parts, ("https://",), at)
    if name not in _TEXTS or at.startswith("msteams"):
        raise Misfit(f"{at}: a value can't be used here; it can in {', '.join(_TEXTS)} and url")
    shorten = teams.shortened if node.get("type") in {"TextRun", "CodeBlock"} else _single_line
    text = author = ""
    for part in parts:
        if not isinstance(part, Value):
            text, author = text + part, author + part
            continue
        if _OPEN.search(author):
            raise Misfit(f"{at}: a value can't decide who is mentioned or where a link leads")
        value = shorten(part, cap)
        # Separates characters that would form `{{DATE(...)}}` or `<at>` together.
        text += _NOTHING * text.endswith(_HALVES) + value + _NOTHING * value.endswith(_HALVES)
    return text.strip()


def _single_line(text: str, cap: int) -> str:
    """Return a value on one line, so that it can't begin a paragraph or list, write an entity, or be executed."""
    line = re.sub(r"&(?=#?\w+;)", f"&{_NOTHING}", tidy_line(text, cap)).translate(_MARKDOWN)
    return teams.inert(_NOTHING * bool(re.match(r"\s*(?:[-+•]|[0-9]+[.)])\s", line)) + line)


def _check_card(card: Json) -> None:
    objects = [each for each, _ in _objects(card, "")]
    version = str(card.get("version", teams.VERSION))
    if card.get("type") != "AdaptiveCard" or not card.get("body"):
        raise Misfit('needs "type": "AdaptiveCard" and a "body"; the relay makes the message')
    if not re.fullmatch(r"1\.[0-4]", version) or "Table" in {each.get("type") for each in objects}:
        raise Misfit(f"flows have refused cards newer than {teams.VERSION}, and a Table is newer")
    if len(card.get("actions", [])) > teams.MAX_ACTIONS:
        raise Misfit(f'at most {teams.MAX_ACTIONS} "actions" are shown')
    if not all(str(each.get("url", "https://")).startswith("https://") for each in objects):
        raise Misfit('a "url" begins with https://')


OVERRIDES: Mapping[str, Finish] = {
    "slack": finish_slack,
    "teams": finish_teams,
    "webhook": webhook.finish,
}

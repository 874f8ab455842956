"""A template's `teams.json` -> the Adaptive Card of a post, inside the size that a flow can hand on.

What the chat says is put in by its place: in a TextRun nothing has a meaning but mentions and functions, which are
taken apart; where Teams reads Markdown, its signs become wide ones that look alike; in an address it is encoded.
"""

import re
from functools import partial

from relay.notification import Notification
from relay.override import Json, Misfit, Mixed, Object, Value, author, objects, shrunk, written
from relay.text import clean, clean_line, cut
from relay.transports.links import address_of, address_within
from relay.transports.teams.pack import (
    MAX_ACTIONS,
    MAX_BYTES,
    VERSION,
    fits,
    frame,
    in_envelope,
    inert,
)

MAX_URL = 2_000
_TEXTS = ("text", "title", "value", "altText", "fallbackText", "codeSnippet", "speak")
"""Where a value may stand, beside an address."""
_WITHOUT_MARKDOWN = ("TextRun", "CodeBlock")
_WEB = ("https://",)
_NEEDLESS = {"Action.Submit", "Action.Execute", "Input.Text", "Input.ChoiceSet", "Input.Toggle"}
# Letters of the same look that stand for themselves.
_MARKDOWN = {ord(sign): chr(ord(sign) + 0xFEE0) for sign in "[]()*_\\`<>~#|"}
_NOTHING = "\u200b"
"""A space without width."""
_HALVES = ("{", "<", "/")
_MENTION = re.compile(r"<at\b(?!.*</at)[^<]*$", re.IGNORECASE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]*)$")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_LIST = re.compile(r"\s*(?:[-+•]|[0-9]+[.)])\s")


def finish(tree: Object, notification: Notification) -> Json:
    """The whole card, with all that every card of ours says. Raises Misfit."""
    _check_shape(tree)
    for text in objects(tree):
        if author(text, "type") == "TextBlock":
            text.setdefault("wrap", True)
    ours = frame(notification)

    def fill(cap: int) -> Json:
        own: Json = written(tree, partial(_write, cap))
        return {**ours, **own, "msteams": {**ours["msteams"], **own.get("msteams", {})}}

    def objection(card: Json) -> Misfit | None:
        post = in_envelope(notification, card)
        what = f"the card has {len(post):,} bytes; a flow hands on at most {MAX_BYTES:,}"
        return None if fits(post) else Misfit(what, tree.at)

    return shrunk(fill, objection)


def _check_shape(tree: Object) -> None:
    if author(tree, "type") != "AdaptiveCard":
        what = (
            "; the relay makes the message around it" if author(tree, "type") == "message" else ""
        )
        raise Misfit(f'"type" must be "AdaptiveCard"{what}', tree.at)
    if not isinstance(tree.get("body"), list) or not tree["body"]:
        raise Misfit('needs "body", a list of at least one element', tree.at)
    version = author(tree, "version")
    if version and not re.fullmatch(r"1\.[0-4]", version):
        raise Misfit(
            f'"version" is {version!r}; flows have refused cards newer than {VERSION}', tree.at
        )
    if not isinstance(tree.get("msteams", Object({}, 0)), Object):
        raise Misfit('"msteams" is no object', tree.at)
    _check_members(tree)


def _check_members(tree: Object) -> None:
    for name in ("actions", "body"):
        for each in tree.get(name, []):
            if not isinstance(each, Object) or not author(each, "type"):
                raise Misfit(f'each of "{name}" is an object with a "type"', tree.at)
    if len(tree.get("actions", [])) > MAX_ACTIONS:
        what = f'{len(tree["actions"])} "actions"; at most {MAX_ACTIONS} are shown'
        raise Misfit(what, tree.at)
    for each in objects(tree):
        _check_element(each)
    for each in objects(tree.get("msteams")):
        for name in each:
            author(each, name)  # nobody else says who is mentioned


def _check_element(element: Object) -> None:
    kind = author(element, "type")
    if kind in _NEEDLESS:
        raise Misfit(f"{kind} does nothing in a card that a flow posts", element.at)
    if kind == "Table":
        raise Misfit(
            "a Table is of version 1.5, which flows have refused; use ColumnSet or FactSet",
            element.at,
        )
    url = element.get("url", "")
    if isinstance(url, str) and url and not url.startswith(_WEB):
        raise Misfit('a "url" begins with https://', element.at)


def _write(cap: int, owner: Object, name: str, mixed: Mixed) -> str:
    if name == "url":
        return address_of(mixed, _WEB, MAX_URL)
    if name not in _TEXTS:
        places = ", ".join(f'"{each}"' for each in (*_TEXTS, "url"))
        raise Misfit(f'a value can\'t be used in "{name}"; it can in {places}', mixed.at)
    markdown = author(owner, "type") not in _WITHOUT_MARKDOWN
    said = ""
    for place, part in enumerate(mixed.parts):
        if isinstance(part, str):
            said += part
            continue
        if _MENTION.search(said):
            raise Misfit("a value can't decide who is mentioned", mixed.at)
        if markdown and (link := _LINK.search(said)):
            said += address_within(link[1], part, mixed.parts[place + 1 :], mixed.at, _WEB)
        else:
            said = _beside(
                said, _without_markdown(part.text, cap) if markdown else _bare(part, cap)
            )
    return said if said.strip() else "-"


def _bare(value: Value, cap: int) -> str:
    return inert(cut(clean(value.text).strip(), cap))


def _without_markdown(text: str, cap: int) -> str:
    """On one line: a visitor can't begin a new paragraph or a list."""
    line = _ENTITY.sub(f"&{_NOTHING}", clean_line(text, cap)).translate(_MARKDOWN)
    return inert(f"{_NOTHING}{line}" if _LIST.match(line) else line)


def _beside(said: str, value: str) -> str:
    """Both, and what they would be together taken apart: `{` and `{DATE(...)}}`, `<` and `at>`."""
    before = _NOTHING if said.endswith(_HALVES) else ""
    after = _NOTHING if value.endswith(_HALVES) else ""
    return f"{said}{before}{value}{after}"

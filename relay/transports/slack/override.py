"""A template's `slack.json` -> the `text` and `blocks` of a post, inside every limit of Slack's.

What the chat says is put in by its place: `&`, `<` and `>` are escaped where Slack reads mrkdwn, what stands in an
address is encoded for it, and in `rich_text` nothing means anything. So links and mentions are the author's alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from relay.notification import Notification
from relay.override import (
    Json,
    Misfit,
    Mixed,
    Object,
    Value,
    author,
    cut_to_fit,
    objects,
    shrunk,
    written,
)
from relay.text import clean, cut
from relay.transports.links import address_of, address_within
from relay.transports.slack.elements import MAX_VISIBLE, escape, escaped_width, width
from relay.transports.slack.pack import MOST_BLOCKS

MAX_TEXT = 3_000
MAX_URL = 3_000
MAX_ALT_TEXT = 2_000
_LIMITS = {
    "header": 150,
    "section": 3_000,
    "field": 2_000,
    "button": 75,
    "image": 2_000,
    "markdown": MAX_VISIBLE,
}
"""Of a text, by what it stands in."""
_MOST: Mapping[str, tuple[str, int]] = {
    "context": ("elements", 10),
    "actions": ("elements", 25),
    "section": ("fields", 10),
}
_MODAL = ("input", "alert")
_WITHOUT_MARKUP = ("text", "link", "raw_text")
"""Types in which no sign has a meaning."""
_SCHEMES = ("https://", "http://", "mailto:")
_TAG = re.compile(r"<([^<>|]*)$")
"""A link or a mention whose address is not at its end yet."""


def finish(tree: Object, notification: Notification) -> Json:  # noqa: ARG001 - see Finish
    """The author's `blocks`, and `text` where they wrote one. Raises Misfit."""
    _check_shape(tree)
    for text in objects(tree):
        if author(text, "type") == "mrkdwn" and isinstance(text.get("text"), Mixed):
            text["verbatim"] = True  # or Slack makes links of addresses that a visitor typed
    owners = _owners(tree)
    return shrunk(
        lambda cap: written(tree, partial(_write, owners, cap)), partial(_objection, tree)
    )


# -- what the author may write -------------------------------------------------------------------------------


def _check_shape(tree: Object) -> None:
    for name in tree:
        if name not in {"blocks", "text"}:
            raise Misfit(
                f'"{name}" can\'t be used here, only "blocks" and "text"; the relay adds the rest',
                tree.at,
            )
    blocks = tree.get("blocks")
    if not isinstance(blocks, list) or not blocks:
        raise Misfit('needs "blocks", a list of at least one', tree.at)
    for place, block in enumerate(blocks):
        if not isinstance(block, Object):
            raise Misfit(f"block {place + 1} is no object", tree.at)
        if place == MOST_BLOCKS:
            raise Misfit(f"{len(blocks)} blocks; Slack takes at most {MOST_BLOCKS}", block.at)
        _check_block(block)
    if not isinstance(tree.get("text", ""), str | Mixed):
        raise Misfit('"text" is no text', tree.at)


def _check_block(block: Object) -> None:
    kind = author(block, "type")
    if not kind:
        raise Misfit('a block needs a "type"', block.at)
    if kind in _MODAL:
        raise Misfit(f'"{kind}" is for modals only, not for messages', block.at)
    name, most = _MOST.get(kind, ("elements", 1_000))
    members = block.get(name, [])
    if not isinstance(members, list) or len(members) > most:
        raise Misfit(f'"{name}" of a {kind} block is a list of at most {most}', block.at)
    text = block.get("text")
    if kind == "header" and not (isinstance(text, Object) and author(text, "type") == "plain_text"):
        raise Misfit('a header needs "text", a plain_text object', block.at)
    if kind == "section" and not (isinstance(text, Object) or (text is None and members)):
        raise Misfit('a section needs "text", an object, or "fields"', block.at)


def _owners(tree: Object) -> Mapping[int, str]:
    """What each object stands in, by its id: the limit of a text hangs on it."""
    found: dict[int, str] = {}
    for owner in objects(tree):
        kind = author(owner, "type")
        for name, member in owner.items():
            inside = member if isinstance(member, list) else [member]
            owned = "field" if name == "fields" else kind
            found.update({id(each): owned for each in inside if isinstance(each, Object)})
    return found


# -- values ------------------------------------------------------------------------------------------------


def _write(owners: Mapping[int, str], cap: int, owner: Object, name: str, mixed: Mixed) -> str:
    kind = author(owner, "type")
    if name == "url":
        return address_of(mixed, _SCHEMES, MAX_URL)
    if name not in {"text", "alt_text"}:
        raise Misfit(
            f'a value can\'t be used in "{name}"; it can in "text", "alt_text" and "url"', mixed.at
        )
    if kind == "markdown":
        raise Misfit(
            "a value can't be used in a markdown block; use a section or rich_text", mixed.at
        )
    one_line = name == "alt_text" or kind == "plain_text"
    limit = MAX_ALT_TEXT if name == "alt_text" else _LIMITS.get(owners.get(id(owner), ""), MAX_TEXT)
    plain = name == "alt_text" or kind in _WITHOUT_MARKUP
    capped = Mixed(tuple(_capped(part, cap, one_line=one_line) for part in mixed.parts), mixed.at)
    parts = cut_to_fit(capped, limit, width if plain else escaped_width)
    said = _joined(parts) if plain else _marked_up(parts, mixed.at)
    return said if said.strip() else "-"


def _capped(part: str | Value, cap: int, *, one_line: bool) -> str | Value:
    if isinstance(part, str):
        return part
    text = " ".join(clean(part.text).split()) if one_line else clean(part.text).strip()
    return Value(cut(text, cap, width))


def _joined(parts: Iterable[str | Value]) -> str:
    return "".join(part.text if isinstance(part, Value) else part for part in parts)


def _marked_up(parts: list[str | Value], at: int) -> str:
    """The author's markup as it is, values escaped; within `<...` they are part of an address."""
    said = ""
    for place, part in enumerate(parts):
        if isinstance(part, str):
            said += part
        elif tag := _TAG.search(said):
            if tag[1].startswith(("@", "!", "#")):
                raise Misfit("a value can't decide who is mentioned", at)
            said += escape(address_within(tag[1], part, parts[place + 1 :], at, _SCHEMES))
        else:
            said += escape(part.text)
    return said


# -- limits ------------------------------------------------------------------------------------------------


def _objection(tree: Object, message: Json) -> Misfit | None:
    """What Slack would refuse of a message whose values are in."""
    shown = 0
    for node, block in zip(tree["blocks"], message["blocks"], strict=True):
        if trouble := _block_too_much(node, block):
            return trouble
        shown += sum(width(text) for _, text in _texts(block, block["type"]))
    if shown > MAX_VISIBLE:
        return Misfit(f"{shown:,} characters are shown; at most {MAX_VISIBLE:,} fit", tree.at)
    if len(message.get("text", "")) > MAX_TEXT:
        return Misfit(f'"text" is longer than {MAX_TEXT:,} characters', tree.at)
    return None


def _block_too_much(node: Object, block: Json) -> Misfit | None:
    kind = block["type"]
    whole = 0
    for owner, text in _texts(block, kind):
        limit = _LIMITS.get(owner, MAX_TEXT)
        whole += width(text)
        if not text:
            return Misfit("a text is empty, which Slack refuses", node.at)
        if width(text) > limit:
            return Misfit(
                f"a text of a {owner} has {width(text):,} characters; at most {limit:,}", node.at
            )
    most = MAX_TEXT if kind == "rich_text" else MAX_VISIBLE
    if whole > most:
        return Misfit(f"a {kind} block shows {whole:,} characters; at most {most:,}", node.at)
    return None


def _texts(node: Any, owner: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    """What each text stands in, and the text."""
    if isinstance(node, list):
        for each in node:
            yield from _texts(each, owner)
    elif isinstance(node, dict):
        if isinstance(text := node.get("text"), str):
            yield owner, text
        kind = node.get("type", "")
        for name, member in node.items():
            yield from _texts(member, "field" if name == "fields" else kind)

"""A template's own JSON for Slack or Teams: written by Jinja, read as JSON, its values kept apart from its structure.

While the template runs, each value is put aside and a mark takes its place; macros pass marks on. Only when the
whole has been read as JSON do the marks become values again, so no text can end a string or add a member. A mark that
is not within a string is no JSON, and is refused.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from json import decoder, scanner
from typing import Any

from jinja2 import BaseLoader, nodes
from jinja2.compiler import Frame
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from relay.override import Misfit, Mixed, Object, Value
from relay.templating.code_generator import SandboxCodeGenerator
from relay.templating.filters import Filters
from relay.templating.sandbox import Sandbox
from relay.templating.words import Words
from relay.text import unsendable

# Signs for private use. An author's own are dropped, and what the chat says only comes in when all is read.
_BEGIN, _END, _LINE, _LINE_END = "\ue000", "\ue001", "\ue002", "\ue003"
_DROPPED = dict.fromkeys(map(ord, (_BEGIN, _END, _LINE, _LINE_END)))
_MARK = re.compile(f"{_BEGIN}([0-9]+){_END}")
_LINES = re.compile(f"{_LINE}([0-9]+):([0-9]+){_LINE_END}")
_NOT_FOR_JSON = ("breaks", "fit")
"""They make or measure HTML."""


class Marks:
    """The values of one rendering, each with a mark that stands for it."""

    def __init__(self) -> None:
        self._values: list[str] = []

    def clear(self) -> None:
        self._values.clear()

    def put_aside(self, value: str) -> Markup:
        self._values.append(value)
        # Not markup, but Jinja's way to know what went through here already.
        return Markup(f"{_BEGIN}{len(self._values) - 1}{_END}")  # noqa: S704 - digits between two signs

    def read(self, text: str) -> str:
        """With the values in their places: what a macro wrote, as a filter or a sentence takes it."""
        parts = self.parts(_LINES.sub("", text))
        return "".join(part.text if isinstance(part, Value) else part for part in parts)

    def parts(self, text: str) -> Iterable[str | Value]:
        for place, piece in enumerate(_MARK.split(text)):
            if place % 2:
                number = int(piece)
                yield Value(self._values[number] if number < len(self._values) else "")
            elif piece:
                yield piece.translate(_DROPPED)


class _MarkedFilters(Filters):
    """Filters take values, so marks that a macro wrote become values again."""

    def __init__(self, words: Words, marks: Marks) -> None:
        super().__init__(words, html=False)
        self._marks = marks

    def shown(self, value: object) -> str:
        if isinstance(value, Markup):
            return self._marks.read(str(value))
        return super().shown(value)

    def _unescaped(self, text: str) -> str:
        return self.shown(text)


class _JsonCodeGenerator(SandboxCodeGenerator):
    """Writes no value before the rendering begins, and what `_` says as one value."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:  # noqa: ANN401
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)

    def _said(self, _node: nodes.Expr, _frame: Frame) -> None:
        return None


class JsonSandbox(Sandbox):
    """Writes JSON, with `marks` where values stand and signs that say which line of which file wrote what."""

    code_generator_class = _JsonCodeGenerator

    def __init__(self, loader: BaseLoader, words: Words) -> None:
        self.marks = Marks()
        self.files: list[str] = []
        """Paths of those that were read; the signs name them by number."""
        filters = _MarkedFilters(words, self.marks)
        self._shown: Callable[[object], str] = filters.shown
        # Escaped "as HTML" is what Jinja knows to be done with: marks are, and the author's own text.
        super().__init__(loader, words, autoescape=True, filters=filters)
        self.put = self._mark
        for name in _NOT_FOR_JSON:
            del self.filters[name]

    def _mark(self, value: object) -> Markup:
        return value if isinstance(value, Markup) else self.marks.put_aside(self._shown(value))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Joins what macros wrote as text: together with a value it would be neither."""
        return super().call_binop(context, operator, self._plain(left), self._plain(right))

    def _plain(self, value: Any) -> Any:  # noqa: ANN401
        return self._shown(value) if isinstance(value, Markup) else value

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        self.files.append(filename or name or "")
        signed: nodes.Template = _Signs(len(self.files) - 1).visit(tree)
        return signed


class _Signs(NodeTransformer):
    """Says of each line of output where it comes from. Not in what is kept in a name: its length may be asked for."""

    def __init__(self, file: int) -> None:
        self._file = file

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802 - Jinja's naming
        first, *others = node.data.translate(_DROPPED).split("\n")
        signed = [self._sign(node.lineno) + first]
        signed += [
            f"\n{self._sign(line)}{text}" for line, text in enumerate(others, node.lineno + 1)
        ]
        return nodes.TemplateData("".join(signed)).set_lineno(node.lineno)

    def visit_Macro(self, node: nodes.Node) -> nodes.Node:  # noqa: N802
        return node

    visit_AssignBlock = visit_CallBlock = visit_Macro  # noqa: N815

    def _sign(self, line: int) -> str:
        return f"{_LINE}{self._file}:{line}{_LINE_END}"


class Sources:
    """Where each character of what was written comes from."""

    def __init__(self, signed: str, files: list[str]) -> None:
        self._starts = [0]
        self._places: list[tuple[str, int]] = [("", 0)]
        texts, length = [], 0
        pieces = _LINES.split(signed)
        for text, file, line in zip(
            pieces[::3], ["", *pieces[1::3]], ["", *pieces[2::3]], strict=True
        ):
            if file:
                self._starts.append(length)
                self._places.append((files[int(file)], int(line)))
            texts.append(text)
            length += len(text)
        self.text = "".join(texts)

    def place(self, at: int) -> tuple[str, int]:
        """File and line; an empty file where no sign came before."""
        return self._places[bisect_right(self._starts, at) - 1]


# -- JSON --------------------------------------------------------------------------------------------------

_STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|([\[{])((?:\s*,)+)|,(?=\s*[,\]}])', re.DOTALL)


def read_tree(text: str, marks: Marks) -> Object:
    """The tree. A comma too many is no mistake, as loops and conditions leave them. Raises Misfit."""
    spared = _STRING_OR_COMMA.sub(_without_comma, text)
    try:
        tree = _Decoder(marks).decode(spared)
    except json.JSONDecodeError as error:
        raise Misfit(_what_is_wrong(error, text), error.pos) from None
    except RecursionError:
        raise Misfit("is nested too deep", 0) from None
    except ValueError as error:
        raise Misfit(str(error), 0) from None
    if not isinstance(tree, Object):
        raise Misfit("is not a JSON object; it begins with { and ends with }", 0)
    return tree


def _without_comma(found: re.Match[str]) -> str:
    """As long as before, so that places stay what they are."""
    string, bracket, commas = found.groups()
    return str(string or (bracket + commas.replace(",", " ") if bracket else " "))


def _what_is_wrong(error: json.JSONDecodeError, text: str) -> str:
    beginning = text[error.pos : error.pos + 1]
    if beginning == _BEGIN:
        return "a value is outside quotes; values can only be used within a text"
    if not text.strip():
        return "comes out empty; it must be a JSON object"
    found = f"; there stands {beginning!r}" if beginning.isprintable() and beginning else ""
    return f"is not JSON: {error.msg[:1].lower()}{error.msg[1:]}{found}"


class _Decoder(json.JSONDecoder):
    """Python's own, with places and marks. A line break within a string is one: macros write them."""

    def __init__(self, marks: Marks) -> None:
        super().__init__(strict=False, parse_constant=_no_constant)
        self._marks = marks
        self.parse_object = self._object
        self.parse_string = self._string
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]  # the one that asks these two

    def _object(self, text_and_end: tuple[str, int], *settings: Any) -> tuple[Object, int]:  # noqa: ANN401 - json's own
        at = text_and_end[1] - 1
        members, end = decoder.JSONObject(text_and_end, *settings)  # type: ignore[attr-defined]
        for name in members:
            if _BEGIN in name:
                raise Misfit("a value can't be a name; names are the author's", at)
            _check_sendable(name, at)
        return Object(members, at), end

    def _string(self, text: str, end: int, strict: bool) -> tuple[str | Mixed, int]:  # noqa: FBT001 - json's own
        at = end - 1
        string, end = decoder.scanstring(text, end, strict)  # type: ignore[attr-defined]
        _check_sendable(string, at)
        if _BEGIN not in string:
            return string, end
        return Mixed(tuple(self._marks.parts(string)), at), end


def _check_sendable(text: str, at: int) -> None:
    if found := unsendable(text):
        raise Misfit(f"a text holds {found}, which is no character and can't be sent", at)


def _no_constant(name: str) -> None:
    raise ValueError(f"is not JSON: {name} is not a number")

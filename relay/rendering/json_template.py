"""Renders a template's own JSON for Slack or Teams: plain JSON whose texts may contain `{{ }}` and `{% %}`.

Each text is rendered separately, so nothing in a chat can end it or add a member. Values stay
marked in the result, and the transport escapes each according to its place.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from jinja2 import BaseLoader, Template, nodes
from jinja2.compiler import Frame
from jinja2.runtime import Context

from relay.notification import Misfit, Mixed, Value
from relay.rendering.filters import Filters
from relay.rendering.sandbox import Sandbox
from relay.rendering.template_compiler import SandboxCodeGenerator
from relay.rendering.template_data import Plain
from relay.rendering.translation import Shown, Words, text_writer
from relay.text import unsendable

_BEGIN, _END = "\x01", "\x02"  # Marks around a value; `text.clean` removes both from text.
_NO_MARKS = dict.fromkeys(map(ord, (_BEGIN, _END)))
_MARKED = re.compile(f"{_BEGIN}([^{_BEGIN}{_END}]*){_END}")
_WELL_FORMED = re.compile(f"(?:[^{_BEGIN}{_END}]|{_MARKED.pattern})*")


class _Generator(SandboxCodeGenerator):
    def _pieces(self, _node: nodes.Expr, _frame: Frame) -> None:
        """Write the output of `_` as one value, so that a catalogue can't write markup either."""


class MarkingSandbox(Sandbox):
    """Renders text with a mark around each value; a value that is composed of several has one pair of marks."""

    code_generator_class = _Generator

    def __init__(self, loader: BaseLoader, words: Words) -> None:
        write = text_writer(Filters(words, html=False).shown, rtl=words.language.rtl)
        self._plain: Shown = lambda value: write(value).translate(_NO_MARKS)
        super().__init__(loader, words, autoescape=False, joined=self._plain)
        self.put = self._mark
        self._texts: dict[str, Template] = {}
        del self.filters["breaks"], self.filters["fit"]  # for HTML only

    def _mark(self, value: object) -> str:
        if isinstance(value, str) and _BEGIN in value and _WELL_FORMED.fullmatch(value):
            return value  # the output of a macro
        text = self._plain(value)
        return f"{_BEGIN}{text}{_END}" if text else ""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        left, right = (self._plain(x) if isinstance(x, str) else x for x in (left, right))
        return super().call_binop(context, operator, left, right)

    def write(self, source: str, data: dict[str, Plain], name: str, path: str) -> Mixed:
        """Return the parts of a JSON template's text after rendering.

        Errors name `name`; `path` is its place in the JSON.
        """
        if source not in self._texts:
            code = self.compile(source, name, path)
            self._texts[source] = Template.from_code(self, code, self.globals)
        pieces = _MARKED.split(self._texts[source].render(data))
        return Mixed(Value(p) if n % 2 else p for n, p in enumerate(pieces) if p)


def rendered(text: str, write: Callable[[str], Mixed]) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON with a `Mixed` in place of each text that has values.

    Raises Misfit, and what `write` raises.
    """
    try:
        return _with_texts(json.loads(text), write, "")
    except json.JSONDecodeError as error:
        raise Misfit(f"is not JSON: {error}") from None


def _with_texts(node: Any, write: Callable[[str], Mixed], at: str) -> Any:  # noqa: ANN401 - JSON
    if isinstance(node, dict):
        return {k: _with_texts(v, write, f"{at}.{k}".strip(".")) for k, v in node.items()}
    if isinstance(node, list):
        return [_with_texts(each, write, f"{at}[{n}]") for n, each in enumerate(node)]
    if not isinstance(node, str):
        return node
    if character := unsendable(at + node):
        raise Misfit(f"a text holds {character}, which is not a character and can't be sent")
    try:
        return write(node) if re.search(r"\{[{%#]", node) else node
    except Exception as error:
        error.add_note(at)
        raise

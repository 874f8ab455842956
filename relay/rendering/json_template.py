"""Renders a template's own JSON for Slack or Teams: plain JSON whose texts may contain `{{ }}` and `{% %}`.

Each text is rendered separately, so nothing in a chat can end it or add a member. Values stay
marked in the result, and the transport escapes each according to its place.
"""

import json
import re
from typing import Any

from jinja2 import BaseLoader, Template, nodes
from jinja2.compiler import Frame
from jinja2.runtime import Context

from relay.notification import Misfit, Mixed, Value, mapped
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

    def _text(self, source: str, data: dict[str, Plain], name: str, path: str) -> Mixed:
        """Return the parts of a text of the JSON after rendering."""
        if source not in self._texts:
            code = self.compile(source, name, path)
            self._texts[source] = Template.from_code(self, code, self.globals)
        pieces = _MARKED.split(self._texts[source].render(data))
        return Mixed(Value(p) if n % 2 else p for n, p in enumerate(pieces) if p)

    def filled(self, source: str, data: dict[str, Plain], name: str, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON in `source` with a `Mixed` in place of each text that has values.

        Errors name the template, `name`, and its file, `path`. Raises Misfit, and what rendering raises.
        """

        def written(text: str, at: str) -> str | Mixed:
            if character := unsendable(at + text):
                raise Misfit(
                    f"a text holds {character}, which is not a character and can't be sent"
                )
            try:
                return self._text(text, data, name, path) if re.search(r"\{[{%#]", text) else text
            except Exception as error:
                error.add_note(at)
                raise

        try:
            return mapped(json.loads(source), written)
        except json.JSONDecodeError as error:
            raise Misfit(f"is not JSON: {error}") from None

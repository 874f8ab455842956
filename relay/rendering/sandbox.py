"""The sandbox that templates run in: Jinja's immutable sandbox with further restrictions.

A template sees plain data and macros. Values have no methods, only files of its folder and
`_parts/` can be imported, nothing can be marked safe, and no single step can create a huge value. A
template can still loop for long: the process around it is ended then.
"""

import re
from collections.abc import Callable, Iterable, MutableMapping
from itertools import islice
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.environment import TemplateModule
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as JINJAS
from jinja2.runtime import Context, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as JINJAS_TESTS
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from relay.rendering.filters import Filters, filters_by_name
from relay.rendering.template_compiler import SandboxCodeGenerator
from relay.rendering.template_folders import DEFAULT
from relay.rendering.template_reference import nearest_filter, nearest_name
from relay.rendering.translation import Shown, Words, html_writer, markup, text_writer, translators
from relay.text import unsendable

MAX_OUTPUT = 400_000
"""The most characters of one file's, macro's or joined value's output."""
MAX_NUMBER = 10**15
MAX_LIST = 10_000
PARTS = "_parts"
JINJA_FILTERS = (
    "default", "first", "items", "last", "length", "list", "map", "reject", "rejectattr", "select",
    "selectattr", "sort", "unique",
)  # fmt: skip
JINJA_TESTS = (
    "defined", "undefined", "none", "true", "false", "string", "number", "mapping", "sequence", "odd", "even",
    "divisibleby", "in", "eq", "==", "ne", "!=", "lt", "<", "le", "<=", "gt", ">", "ge", ">=",
)  # fmt: skip
_ESCAPES = frozenset({"e", "escape", "forceescape"})
_DID_YOU_MEAN = "; did you mean '{}'?"
_WITHOUT_PARTS = (str, int, float, bool, list, tuple, type(None))


_AT_ONCE = 500
_TOO_LONG = f"writes more than {MAX_OUTPUT:,} characters"


class TooMuch(Exception):
    """Raised for output that is larger than any notification can be."""


class Missing(StrictUndefined):
    """A missing name, which stops the template with an error that says what is missing."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return str(self._undefined_hint)
        return _missing_name(str(self._undefined_name))


_OPTIONS: dict[str, Any] = {
    "trim_blocks": True,
    "lstrip_blocks": True,
    "auto_reload": False,
    "cache_size": -1,
}
"""Jinja's options beside those that differ between sandboxes."""


class Sandbox(ImmutableSandboxedEnvironment):
    """Renders templates in one language: with `autoescape` as HTML, without as plain text."""

    code_generator_class = SandboxCodeGenerator
    markup = staticmethod(markup)
    intercepted_binops = frozenset({"+", "*", "**", "%", "/", "//"})

    def __init__(
        self, loader: BaseLoader, words: Words, *, autoescape: bool, joined: Shown | None = None
    ) -> None:
        """`joined` writes the results of `_` and `join`; by default `put` does."""
        filters = Filters(words, html=autoescape)
        rtl = words.language.rtl
        as_text = joined or text_writer(filters.shown, rtl=rtl)
        self.put: Shown = html_writer(filters.shown, rtl=rtl) if autoescape else as_text
        """Writes a value, isolated if its direction could reorder the words around it."""
        super().__init__(loader=loader, autoescape=autoescape, undefined=Missing, **_OPTIONS)
        self.language = words.language
        self._loaded: dict[tuple[str, str | None], Template] = {}
        self.globals.clear()
        self.globals |= translators(words, self.put, html=autoescape)
        self._ours = frozenset(map(id, self.globals.values()))
        self.filters = {name: JINJAS[name] for name in JINJA_FILTERS}
        self.filters |= {**filters_by_name(filters), "join": _joining(as_text, self.put)}
        self.tests = {name: JINJAS_TESTS[name] for name in JINJA_TESTS}

    # Jinja joins the output of files, macros and set blocks with this function.
    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Join output into one text. Raises TooMuch as soon as it is too long."""
        if isinstance(pieces, list) and len(pieces) <= _AT_ONCE:  # as in the output of most macros
            text = "".join(pieces)
            if len(text) > MAX_OUTPUT:
                raise TooMuch(_TOO_LONG)
            return text
        left, joined, remaining = MAX_OUTPUT, [], iter(pieces)
        while batch := list(islice(remaining, _AT_ONCE)):
            joined.append("".join(batch))
            left -= len(joined[-1])
            if left < 0:
                raise TooMuch(_TOO_LONG)
        return joined[0] if len(joined) == 1 else "".join(joined)

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """Return the globals that all templates share, a plain dict, which is faster than Jinja's chain of maps."""
        if d:
            raise ValueError("a template has no globals of its own")
        return self.globals

    def get_template(self, name: Any, parent: str | None = None, globals: Any = None) -> Template:  # noqa: A002, ANN401 - Jinja's own signature
        """Return a template, cached by name and parent: file names in templates are constants."""
        template = self._loaded.get((name, parent))
        if template is None:
            template = self._loaded[name, parent] = super().get_template(name, parent, globals)
        return template

    def join_path(self, template: str, parent: str) -> str:
        """Return the path of an included file: a bare name is in the parent's folder, others keep their folder."""
        return template if "/" in template else f"{parent.partition('/')[0]}/{template}"

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401 - Jinja's own signature
        """Return a mapping's key, never its method: `visitor.variables.items` is the visitor's variable "items".

        The generated code reads existing keys itself and does not call this.
        """
        if type(obj) is TemplateModule and attribute in obj.__dict__ and attribute[0] != "_":
            # A fast path to macros of `_parts/`.
            return obj.__dict__[attribute]
        if isinstance(obj, dict):
            return self._key(obj, attribute)
        if isinstance(obj, _WITHOUT_PARTS):
            return self._refuse(obj, attribute)
        return super().getattr(obj, attribute)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Call a macro or one of the sandbox's functions, which are safe; refuse anything else."""
        if type(obj) is Macro:
            lacking = len(obj.arguments) - len(args)
            if kwargs or lacking < 0 or obj.caller or obj.catch_kwargs or obj.catch_varargs:
                return obj(context.eval_ctx, *args, **kwargs)
            # The body of `Macro.__call__` for the case that all arguments are positional.
            args += (missing,) * lacking
            written = obj._func(*args)  # noqa: SLF001
            return markup(written) if self.autoescape else written
        if id(obj) in self._ours:
            return obj(*args, **kwargs)
        return super().call(context, obj, *args, **kwargs)

    def getitem(self, obj: Any, argument: Any) -> Any:  # noqa: ANN401 - Jinja's own signature
        if isinstance(obj, dict):
            return self._key(obj, argument)
        if isinstance(obj, _WITHOUT_PARTS) and isinstance(argument, str):
            return self._refuse(obj, argument)
        return super().getitem(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Return the result of an operator on numbers of limited size; `+` also takes two texts or two lists.

        Raises SecurityError and TooMuch.
        """
        if operator == "+" and (_both(left, right, str) or _both(left, right, list)):
            limit = MAX_OUTPUT if isinstance(left, str) else MAX_LIST
            if len(left) + len(right) > limit:
                raise TooMuch(f"+ makes more than {limit:,} at once")
        elif not _both(left, right, int | float):
            _require_values(left, right)
            raise SecurityError(
                f"{operator} is for numbers; here it is between {_kind(left)} and {_kind(right)}"
            )
        elif operator == "**" and (abs(left) > 1_000 or abs(right) > 5):
            raise TooMuch("** makes too large a number")
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int | float) and abs(result) > MAX_NUMBER:
            raise TooMuch(f"{operator} makes too large a number")
        return result

    def _key(self, mapping: dict[Any, Any], key: Any) -> Any:  # noqa: ANN401
        try:
            return mapping[key]
        except (KeyError, TypeError):
            return self.undefined(_missing_name(key, map(str, mapping)))

    def _refuse(self, obj: Any, attribute: str) -> Undefined:  # noqa: ANN401
        return self.undefined(
            f"{_kind(obj)} has no {attribute!r}; values have no parts or methods, use a filter"
        )

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        checked: nodes.Template = _Policy(self, name, filename).visit(tree)
        return checked


class _Policy(NodeTransformer):
    """Refuses templates that could only fail later, and limits `~`, which the sandbox can't intercept."""

    def __init__(self, environment: Sandbox, name: str | None, filename: str | None) -> None:
        self._environment = environment
        self._name = name
        self._filename = filename

    def _fail(self, reason: str, node: nodes.Node) -> TemplateSyntaxError:
        return TemplateSyntaxError(reason, node.lineno, self._name, self._filename)

    def visit_Const(self, node: nodes.Const) -> nodes.Node:  # noqa: N802 - Jinja's naming
        """Refuse a text whose escapes stand for a character that can't be sent."""
        if isinstance(node.value, str) and (character := unsendable(node.value)):
            reason = f"this text holds {character}, which is not a character and can't be sent; write the character itself"
            raise self._fail(reason, node)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        if node.name == "safe":
            raise self._fail("|safe is not allowed: what visitors type must stay text", node)
        if node.name not in self._environment.filters:
            if node.name in _ESCAPES:
                raise self._fail(
                    f"leave |{node.name} out: what HTML needs is escaped without it", node
                )
            near = nearest_filter(node.name, self._environment.filters)
            hint = _DID_YOU_MEAN.format(near) if near else ""
            raise self._fail(f"there is no filter called {node.name!r}{hint}", node)
        return self.generic_visit(node)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        """Require quoted texts in `_` and `ngettext`, and translate texts without values at once."""
        name = node.node.name if isinstance(node.node, nodes.Name) else ""
        needed = {"_": 1, "ngettext": 2}.get(name, 0)
        quoted = [arg.value for arg in node.args[:needed] if isinstance(arg, nodes.Const)]
        if [type(words) for words in quoted] != [str] * needed:
            raise self._fail(f"{name}: the words to translate must be in quotes", node)
        visited = self.generic_visit(node)
        if name == "_" and not (node.args[1:] or node.kwargs or node.dyn_args or node.dyn_kwargs):
            text = self._environment.language.gettext(quoted[0])
            return nodes.Const(text).set_lineno(node.lineno).set_environment(self._environment)
        return visited

    def visit_ScopedEvalContextModifier(self, node: nodes.Node) -> nodes.Node:  # noqa: N802
        raise self._fail("{% autoescape %} is not allowed: what visitors type must stay text", node)

    def visit_FilterBlock(self, node: nodes.FilterBlock) -> nodes.Node:  # noqa: N802
        raise self._fail("{% filter %} is not allowed; write the filter after the value", node)

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:  # noqa: N802
        """Refuse `{% set %}` with a filter, because Jinja would treat the filter's output as escaped HTML."""
        if node.filter is not None:
            raise self._fail(
                "{% set %} with a filter is not allowed; filter where it is used", node
            )
        return self.generic_visit(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        parts = [self.visit(part) for part in node.nodes]
        joined = nodes.Filter(nodes.List(parts), "join", [], [], None, None)
        return joined.set_lineno(node.lineno).set_environment(self._environment)

    def visit_Include(self, node: nodes.Include) -> nodes.Node:  # noqa: N802
        return self._fixed_name(node)

    visit_Import = visit_FromImport = visit_Extends = visit_Include  # noqa: N815

    def _fixed_name(self, node: Any) -> nodes.Node:  # noqa: ANN401 - four node types that share a field
        name = node.template
        if not (isinstance(name, nodes.Const) and isinstance(name.value, str)):
            raise self._fail("the file must be named in quotes", node)
        if not re.fullmatch(rf"(?:{PARTS}/|{DEFAULT}/)?[a-z0-9_-]+\.(?:txt|html|json)", name.value):
            raise self._fail(
                f"{name.value!r} is out of reach: {PARTS}/..., {DEFAULT}/... and files of the same folder are not",
                node,
            )
        return self.generic_visit(node)


def _joining(shown: Shown, put: Shown) -> Callable[..., str]:
    def join(values: Iterable[object], separator: str = "") -> str:
        """The values in one text, with a separator between them."""
        texts = [shown(value) for value in islice(values, MAX_LIST)]
        between = shown(separator)
        if sum(map(len, texts)) + len(between) * len(texts) > MAX_OUTPUT:
            raise TooMuch(f"joins more than {MAX_OUTPUT:,} characters")
        # One value of markup makes the whole result markup.
        if Markup in map(type, (between, *texts)):
            return markup(put(between).join(map(put, texts)))
        return between.join(texts)

    return join


def _both(left: object, right: object, kind: Any) -> bool:  # noqa: ANN401 - whatever isinstance takes
    return isinstance(left, kind) and isinstance(right, kind)


def _require_values(*values: object) -> None:
    """Raise UndefinedError if one of the values is missing."""
    for value in values:
        if isinstance(value, Undefined):
            str(value)


_KINDS = (
    (Undefined, "a missing value"),
    (type(None), "an empty value"),
    (str, "a text"),
    (bool, "yes or no"),
    ((int, float), "a number"),
    ((list, tuple), "a list"),
    (dict, "a mapping"),
)


def _kind(value: object) -> str:
    return next((called for kind, called in _KINDS if isinstance(value, kind)), "this")


def _missing_name(name: object, here: Iterable[str] = ()) -> str:
    near = nearest_name(str(name), list(here))
    hint = _DID_YOU_MEAN.format(near) if near else ""
    if near == name:  # as in `chat.visitor`
        hint = f"; write {near!r} without anything before it"
    return f"there is nothing called {name!r} here{hint}"

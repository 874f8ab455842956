"""Templates are compiled with shorter ways than Jinja's own; they write what Jinja's would, and refuse what it refuses."""

import runpy
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import DictLoader, pass_context
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from jinja2.runtime import Context, Macro
from markupsafe import Markup, escape

from relay.rendering import translation
from relay.rendering.filters import Filters, NotText
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.sandbox import MAX_OUTPUT, Sandbox, TooMuch
from relay.rendering.templates import BrokenTemplate
from relay.rendering.translation import TooLong, escaped, words_in
from relay.text import isolated
from tests.templates.conftest import OwnCatalogue, Written
from tests.templates.reading import told

WORDS = words_in("en")


class JinjasOwn(Sandbox):
    """Compiled by Jinja's own generator, and its macros called in Jinja's own way."""

    code_generator_class = CodeGenerator  # type: ignore[assignment]

    def __init__(self, source: str, *, html: bool) -> None:
        super().__init__(DictLoader({"it": source}), WORDS, autoescape=html)
        shown = Filters(WORDS, html=html).shown
        # With a context, so that constants are written as values are.
        self.finalize = pass_context(lambda _context, value: shown(value))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("_loop_vars", None)
        kwargs.pop("_block_vars", None)
        if isinstance(obj, Macro):
            return obj(context.eval_ctx, *args, **kwargs)
        return super().call(context, obj, *args, **kwargs)


def written_by(sandbox: Sandbox, values: dict[str, object]) -> str:
    return sandbox.get_template("it").render(values)


def write(source: str, *, html: bool, **values: object) -> str:
    return written_by(Sandbox(DictLoader({"it": source}), WORDS, autoescape=html), values)


@pytest.mark.parametrize(
    ("value", "text", "html"),
    [
        ("<b>&'\"", "<b>&'\"", "&lt;b&gt;&amp;&#39;&#34;"),
        (Markup("<b>"), "<b>", "<b>"),
        ("", "", ""),
        (None, "", ""),
        (5, "5", "5"),
        (-5.0, "-5", "-5"),
        (4.5, "4.5", "4.5"),
        (True, "yes", "yes"),
        (False, "no", "no"),
    ],
)
def test_each_kind_of_value_is_written_as_people_write_it(
    value: object, text: str, html: str
) -> None:
    said = "{{ it }}|{{ of.it }}|{{ _('{it}!', it=it) }}|{{ [it, '']|join }}"
    for is_html, expected in ((False, text), (True, html)):
        written = write(said, html=is_html, it=value, of={"it": value})
        assert written == f"{expected}|{expected}|{expected}!|{expected}"


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize("value", [datetime(2026, 1, 1, tzinfo=UTC), b"x", [1], {"a": 1}, iter("x"), object()])  # fmt: skip
def test_what_is_no_text_and_no_number_is_not_written(value: object, html: bool) -> None:
    for said in ("{{ it }}", "{{ _('{it}', it=it) }}", "{{ _('{it}', it=it)|upper }}"):
        with pytest.raises(NotText):
            write(said, html=html, it=value)


def test_constants_are_written_as_values_are() -> None:
    for html in (False, True):
        said = write("{{ true }},{{ none }},{{ 1.0 }},{{ '<' }},{{ 1 + 1 }}", html=html)
        assert said == ("yes,,1,&lt;,2" if html else "yes,,1,<,2")


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize(
    "said",
    [
        "{{ lost }}",
        "{{ of.lost }}",
        "{{ of.lost.it }}",
        "{{ lost.it }}",
        "{{ lost() }}",
        "{{ _('{it}', it=lost) }}",
        "{{ _('', it=lost) }}",
        "{{ _('x', it=lost) }}",
        "{{ _('{it}{it}', it=lost) }}",
        "{{ _('{a}', a=1, b=lost) }}",
        "{{ _('{it}', it=of.lost)|upper }}",
        "{% macro m(it) %}{{ it }}{% endmacro %}{{ m() }}",
        "{% macro m(it) %}{{ it }}{% endmacro %}{{ m(lost) }}",
    ],
)
def test_what_is_not_there_is_an_error_wherever_it_is_said(said: str, html: bool) -> None:
    with pytest.raises(UndefinedError):
        write(said, html=html, of={"it": 1})


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize(
    "value", [{}, {"it": 1}, "text", Markup("<b>"), 1, True, None, ["x"], WORDS, write, datetime]
)
@pytest.mark.parametrize(
    "name", ["__class__", "__init__", "__globals__", "_locale", "items", "upper", "format", "mro"]
)
def test_only_keys_of_mappings_are_reached(name: str, value: object, html: bool) -> None:
    for said in (f"{{{{ it.{name} }}}}", f"{{{{ it['{name}'] }}}}", f"{{{{ it.{name}() }}}}"):
        with pytest.raises((UndefinedError, SecurityError, NotText)):
            write(said, html=html, it=value)


def test_a_key_is_found_whatever_it_is_called_and_whatever_else_the_mapping_has() -> None:
    class Kind(dict[str, object]):
        def __missing__(self, key: str) -> str:
            return ""

    values = {"items": "a", "_of": "b", "it": {"it": {"it": "c"}}}
    for kind in (dict, Kind):
        assert write("{{ of.items }}{{ of._of }}{{ of.it.it.it }}", html=False, of=kind(values)) == "abc"  # fmt: skip
    assert write("{{ of.lost }}.", html=False, of=Kind(values)) == "."


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("{{ _('{a} of {b}', b=2, a='<') }}", "&lt; of 2"),
        ("{{ _('{a} and {a}', a='<') }}", "&lt; and &lt;"),
        ("{{ _('no place', a='<') }}", "no place"),
        ("{{ _('{a} {lost}', a=1) }}", "1 {lost}"),
        ("{{ _('100 % {a} %s %(a)s {} {0} { }', a='%s{b}') }}", "100 % %s{b} %s %(a)s {} {0} { }"),
        ("{{ _('<i> & {a}', a=1) }}", "&lt;i&gt; &amp; 1"),
        ("{{ _('<i> & {a}', a=1)|upper }}", "&LT;I&GT; &AMP; 1"),
        ("{{ _('{a}', a=_('{b} {c}', b='<', c=1)) }}", "&lt; 1"),
        ("{% set s = _('{a}', a='<') %}{{ s }}{{ s|cut(9) }}", "&lt;&lt;"),
        ("{{ [_('{a}', a='<'), '<']|join('>') }}", "&lt;&gt;&lt;"),
        ("{{ ['<', '<']|join('>') }}{{ ['x']|join('<')|upper }}", "&lt;&gt;&lt;X"),
        ("{{ _('{a}', **{'a': 1}) }}", "1"),
        ("{{ _('{class}', class=1) }}", "1"),
        ("{{ ngettext('{count} <', '{count} >', 2) }}", "2 &gt;"),
        ("{% for _ in [1] %}{{ _('{a}', a=_) }}{% endfor %}", "1"),
        ("{{ _('{_of} {put}', _of=of.it, put=of.it) }}", "it it"),
    ],
)
def test_words_are_said_with_the_values_in_their_places(said: str, expected: str) -> None:
    assert write(said, html=True, of={"it": "it"}) == expected
    if "upper" not in said:
        plain = expected.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        assert write(said, html=False, of={"it": "it"}) == plain


def test_a_translation_may_move_its_places_say_them_twice_or_leave_them_out(
    catalogue: OwnCatalogue, tmp_path: Path
) -> None:
    said = "{{ _('{a} moved {b}', a=chat.id, b='<b>') }} {{ _('{a} doubled', a=chat.id) }} {{ _('{a} left out', a=chat.id) }}"
    translations = {
        "{a} moved {b}": "{b} & {a}",
        "{a} doubled": "{a} {a} %",
        "{a} left out": "nothing %",
    }
    templates = catalogue("cs", translations)
    (tmp_path / "chat").mkdir()
    for file in ("summary.txt", "body.html"):
        (tmp_path / "chat" / file).write_text(said, encoding="utf-8")
    notification = told("chat", made_up_chats()["finished"], templates, language="cs")
    assert notification.summary == "<b> & 910101 910101 910101 % nothing %"
    assert notification.html == "&lt;b&gt; &amp; 910101 910101 910101 % nothing %\n"


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("m(1)", "1-2-<"),
        ("m(1, 3)", "1-3-<"),
        ("m(1, 3, '>')", "1-3->"),
        ("m(a=1)", "1-2-<"),
        ("m(1, c='>')", "1-2->"),
        ("m(c='>', a=1)", "1-2->"),
        ("m(*[1, 3])", "1-3-<"),
        ("m(**{'a': 1})", "1-2-<"),
        ("m(m(1))", "1-2-<-2-<"),
        ("v(1, 3, 4)", "1[3,4]"),
        ("k(1, b=3)", "1[b]"),
        ("c(1)", "broken"),
        ("m()", "broken"),
        ("m(1, 2, 3, 4)", "broken"),
        ("m(1, a=1)", "broken"),
        ("m(1, d=1)", "broken"),
        ("m(1, caller=1)", "broken"),
        ("m.__init__", "broken"),
        ("m._func", "broken"),
        ("m", "broken"),
    ],
)
def test_a_macro_takes_what_it_names_and_what_it_asks_for(
    call: str,
    expected: str,
    html: bool,
) -> None:
    macros = (
        "{% macro m(a, b=2, c='<') %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}"
        "{% macro v(a) %}{{ a }}[{{ varargs|join(',') }}]{% endmacro %}"
        "{% macro k(a) %}{{ a }}[{{ kwargs|list|join(',') }}]{% endmacro %}"
        "{% macro c(a) %}{{ caller(a) }}{% endmacro %}"
    )
    expected = str(escape(expected)) if html else expected
    for said in (f"{{{{ {call} }}}}", f"{{% for x in [1] %}}{{{{ {call} }}}}{{% endfor %}}"):
        try:
            assert write(macros + said, html=html) == expected
        except (UndefinedError, SecurityError, TypeError, NotText):
            assert expected == "broken"


def test_a_macro_is_handed_what_is_called_within_it() -> None:
    said = "{% macro c(a) %}<{{ caller(a) }}>{% endmacro %}{% call(b) c('&') %}{{ b }}{{ x }}{% endcall %}"
    assert write(said, html=True, x="'") == "<&amp;&#39;>"
    assert write(said, html=False, x="'") == "<&'>"


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize(
    "said",
    [
        "{{ it }}" * 3,
        "{{ _('{a}{b}', a=it, b=it) }}{{ it }}",
        "{{ _('{a}{b}{c}', a=it, b=it, c=it)|cut(5) }}",
        "{% macro m() %}{{ it }}{{ it }}{{ it }}{% endmacro %}{{ m() }}",
        "{% macro m() %}" + "{{ it }}" * 1_000 + "{% endmacro %}{{ m() }}",
        "{% set s %}{{ it }}{{ it }}{{ it }}{% endset %}",
        "{{ it ~ it ~ it }}",
        "{{ [it, it, it]|join }}",
        "{{ [1, 2, 3]|join(it ~ it) }}",
    ],
)
def test_no_step_writes_more_than_a_notification_can_hold(said: str, html: bool) -> None:
    half = "x" * (MAX_OUTPUT // 2 - 2)
    with pytest.raises(TooMuch, match="400,000"):
        write(said, html=html, it=half)
    with pytest.raises(TooLong):
        write("{{ _('{a}{a}', a=it) }}", html=html, it=half)


# -- against Jinja's own generator ---------------------------------------------------------------------------

VALUES: dict[str, object] = {
    "text": "<a> & 'b'",
    "marked": Markup("<i>&amp;</i>"),
    "nothing": None,
    "whole": 7,
    "part": 4.5,
    "yes": True,
    "many": ["<1>", 2, None],
    "of": {"text": "<x>", "of": {"text": "y"}, "items": 1, "_x": 2, "none": None},
    "empty": {},
}
DEFINITIONS = (
    "{% macro one(a, b='<d>') %}{{ a }}{{ b }}{% endmacro %}"
    "{% macro all(a) %}{{ a }}{{ varargs|join }}{{ kwargs|list|join }}{% endmacro %}"
)
_leaves = st.sampled_from(
    [*VALUES, "lost", "of.text", "of.of.text", "of.items", "of._x", "of.lost", "empty.x", "text.upper", "many[0]", "of['text']", "'<c>'", "2"]
)  # fmt: skip


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    forms = (
        "({0}|upper)", "({0}|cut(4))", "({0}|fit(9))", "({0}|breaks)", "({0}|sentence)", "({0} ~ {1})",
        "([{0}, {1}]|join({2}))", "({0} if {1} else {2})", "({0} or {1})", "(not {0})", "one({0})", "one({0}, {1})",
        "one({0}, b={1})", "one(b={0})", "all({0}, {1})", "all({0}, x={1})", "one()", "_('(a) & (b)', a={0}, b={1})",
        "_('<(b)> (a)', a={0}, b={1})", "_('(a)(a)', a={0})", "_('100 % (a) (lost)', a={0})", "_('none', a={0})",
        "ngettext('(count) <(a)>', '(count) >(a)<', 2, a={0})", "({0} == {1})", "({0} is defined)", "({0}|default({1}))",
        "({{'k': {0}}}.k)", "[{0}, {1}][1]", "({0} + {1})",
    )  # fmt: skip

    def fill(form: str, parts: tuple[str, str, str]) -> str:
        return form.format(*parts).replace("(a)", "{a}").replace("(b)", "{b}").replace("(lost)", "{lost}").replace("(count)", "{count}")  # fmt: skip

    return st.builds(fill, st.sampled_from(forms), st.tuples(inner, inner, inner))


_expressions = st.recursive(_leaves, _larger, max_leaves=6)
_statements = st.sampled_from(
    [
        "{{ EXPRESSION }}",
        "a{{ EXPRESSION }}b{{ EXPRESSION }}",
        "{% set s = EXPRESSION %}{{ s }}{{ s|upper }}",
        "{% set s %}{{ EXPRESSION }}{% endset %}{{ s }}",
        "{% for x in many %}{{ loop.index }}{{ EXPRESSION }}{% endfor %}",
        "{% if EXPRESSION %}{{ EXPRESSION }}{% endif %}",
        "{% call all(1) %}{% endcall %}{{ EXPRESSION }}",
        "{% block b %}{{ EXPRESSION }}{% endblock %}",
    ]
)


@given(statement=_statements, expression=_expressions, html=st.booleans())
@example(statement="{{ EXPRESSION }}", expression="_('{a}{b}', a=of.of.text, b=of.text)", html=True)
def test_whatever_is_said_comes_out_as_by_jinjas_own_generator(
    statement: str,
    expression: str,
    html: bool,
) -> None:
    source = DEFINITIONS + statement.replace("EXPRESSION", expression)

    def outcome(sandbox: Sandbox) -> str:
        try:
            return written_by(sandbox, VALUES)
        except (UndefinedError, SecurityError, NotText, TooMuch, TypeError, TemplateSyntaxError):
            return "an error"  # of several, another one may come first

    ours = Sandbox(DictLoader({"it": source}), WORDS, autoescape=html)
    assert outcome(ours) == outcome(JinjasOwn(source, html=html))


@given(st.text())
def test_text_is_escaped_as_markupsafe_escapes_it(text: str) -> None:
    assert escaped(text) == str(escape(text))
    assert write("{{ it }}", html=True, it=text) == str(escape(isolated(text)))


def test_escaping_does_without_what_is_markupsafes_own(monkeypatch: pytest.MonkeyPatch) -> None:
    public = SimpleNamespace(Markup=Markup, escape=escape)
    monkeypatch.setitem(sys.modules, "markupsafe", public)
    assert runpy.run_path(translation.__file__)["escaped"]("<&'\">") == "&lt;&amp;&#39;&#34;&gt;"


def test_a_mistake_in_words_to_say_is_named_with_its_line(written: Written) -> None:
    templates = written(
        {"mine/body.html": "{{ _('a') }}\n{{ _('{a} {b}', a=1,\nb=visitor.lost) }}"}
    )
    with pytest.raises(BrokenTemplate) as broken:
        told("mine", made_up_chats()["finished"], templates)
    assert (broken.value.line, broken.value.reason) == (
        3,
        "there is nothing called 'lost' here",
    )

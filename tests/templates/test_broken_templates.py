"""A broken template is named with file and line; a wicked one gets nowhere."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.files import shipped
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.templates import BrokenTemplate, Templates
from tests.templates.conftest import Written
from tests.templates.reading import told


@pytest.mark.parametrize(
    ("file", "source", "line", "words"),
    [
        ("subject.txt", "Hi\n{% if chat.missed %}", 2, "Unexpected end of template"),
        ("subject.txt", "{{ vistor.name }}", 1, "there is nothing called 'vistor' here"),
        ("facts.txt", "A: b\nC: {{ visitor.nmae }}", 2, "there is nothing called 'nmae' here; did you mean 'name'?"),
        ("body.html", "x\n\n{{ visitor.name|safe }}", 3, "|safe is not allowed"),
        ("body.html", "{% autoescape false %}{{ visitor.name }}{% endautoescape %}", 1, "{% autoescape %} is not allowed"),
        ("body.txt", "{{ visitor.name|uper }}", 1, "there is no filter called 'uper'; did you mean 'upper'?"),
        ("body.txt", "\n{% for i in range(10**9) %}{{ i }}{% endfor %}", 2, "** makes too large a number"),
        ("body.txt", "{% for i in range(9) %}{% endfor %}", 1, "there is nothing called 'range' here"),
        ("body.txt", "{{ 'a'*10**9 }}", 1, "makes too large a number"),
        ("body.txt", "{{ 'a'*1000 }}", 1, "* is for numbers; here it is between a text and a number"),
        ("body.txt", "{{ visitor.name.upper() }}", 1, "a text has no 'upper'"),
        ("body.txt", "{% include '../../secret.txt' %}", 1, "out of reach"),
        ("body.txt", "{% include 'vip/body.txt' %}", 1, "out of reach"),
        ("body.txt", "{% include visitor.name %}", 1, "must be named in quotes"),
        ("body.txt", "a\n{% include 'lost.txt' %}", 2, "there is no file"),
        ("body.txt", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", 1, "calls itself without an end"),
        ("body.html", "{% for a in 'xxxxxxxxxxxxxxxxxxxx' %}{% for b in 'x' * 2 %}{% endfor %}{% endfor %}", 1, "* is for numbers"),
        ("summary.txt", "  \n ", 0, "comes out empty"),
        ("facts.txt", "just words", 0, "every line must be `Label: value`"),
        ("body.txt", "{{ chat.agents }}", 1, "a list or a mapping can't be written"),
        ("body.html", "{{ visitor|upper }}", 1, "a list or a mapping can't be written"),
        ("body.txt", "{{ 1 / 0 }}", 1, "division by zero"),
        ("body.html", "\n{{ _(visitor.name) }}", 2, "_: the words to translate must be in quotes"),
        ("body.txt", "{{ ngettext('{count} page', pages, 2) }}", 1, "ngettext: the words to translate must be in quotes"),
        ("body.txt", "{{ _('Hi {who}', who=vistor.name) }}", 1, "there is nothing called 'vistor' here"),
        ("body.html", "{{ _('Hi {who}', who=visitor) }}", 1, "a list or a mapping can't be written"),
        ("subject.txt", '{{ "\\ud800" }}', 1, "this text holds U+D800, which is not a character"),
        ("facts.txt", 'A: b\nC: {{ "\\udfff"|upper }}', 2, "holds U+DFFF"),
        ("body.txt", '\n{{ "x" ~ "\\ud83d\\ude00" }}', 2, "holds U+D83D, which is not a character and can't be sent; write the character itself"),
        ("body.html", '{{ _("\\ud800") }}', 1, "holds U+D800"),
        ("body.html", '{{ "a\\x00b" }}', 1, "holds U+0000"),
        ("footer.txt", '{% set x = "\\uffff" %}{{ x }}', 1, "holds U+FFFF"),
        ("subject.txt", "x" * 200_000, 0, "larger than 100,000 bytes"),
    ],
)  # fmt: skip
@pytest.mark.long
def test_a_broken_template_is_named_with_file_line_and_reason(
    written: Written, tmp_path: Path, file: str, source: str, line: int, words: str
) -> None:
    templates = written({f"mine/{file}": source})
    problems = templates.check("mine")
    place = f"{tmp_path / 'mine' / file}:{line}: " if line else f"{tmp_path / 'mine' / file}: "
    assert problems
    assert all(problem.startswith(place) for problem in problems)
    assert words in problems[0]
    with pytest.raises(BrokenTemplate) as broken:
        told("mine", made_up_chats()["finished"], templates)
    assert (broken.value.template, broken.value.line) == ("mine", line)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ visitor.town }}", "nothing called 'town' here; did you mean 'visitor.city'?"),
        ("{{ town }}", "nothing called 'town' here; did you mean 'visitor.city'?"),
        ("{{ city }}", "nothing called 'city' here; did you mean 'visitor.city'?"),
        ("{{ chat.city }}", "nothing called 'city' here; did you mean 'visitor.city'?"),
        ("{{ visitor.Stars }}", "nothing called 'Stars' here; did you mean 'chat.rating'?"),
        (
            "{{ chat.visitor.name }}",
            "called 'visitor' here; write 'visitor' without anything before",
        ),
        ("{{ chat.agent }}", "nothing called 'agent' here; did you mean 'chat.agents'?"),
        ("{{ visitor.phone }}", "did you mean 'visitor.variables.phone'?"),
        ("{{ chat['start'] }}", "nothing called 'start' here; did you mean 'chat.began'?"),
        ("{{ message }}", "nothing called 'message' here; did you mean 'transcript.head'?"),
        ("{{ vistor.name }}", "nothing called 'vistor' here; did you mean 'visitor'?"),
        ("{{ visitor.name|truncate(20) }}", "no filter called 'truncate'; did you mean 'cut'?"),
        ("{{ chat.began|strftime }}", "no filter called 'strftime'; did you mean 'datetime'?"),
        ("{{ visitor.name|e }}", "leave |e out: what HTML needs is escaped without it"),
    ],
)
def test_a_name_is_followed_by_the_one_that_was_meant(
    written: Written, source: str, words: str
) -> None:
    assert words in written({"mine/subject.txt": source}).check("mine")[0]


@pytest.mark.parametrize("name", ["x" * 300_000, "range", "zzz"])
def test_where_nothing_is_near_nothing_is_suggested(written: Written, name: str) -> None:
    templates = written({"mine/subject.txt": "{{ " + name[:90_000] + " }}"})
    assert templates.check("mine")[0].endswith(f"'{name[:90_000]}' here")


def test_a_mistake_in_a_part_is_named_where_it_stands(written: Written, tmp_path: Path) -> None:
    templates = written({"_parts/facts.txt": "\nX: {{ visitor.wrong }}"})
    assert templates.check("missed")[0].startswith(f"{tmp_path}/_parts/facts.txt:2: ")


def test_a_file_that_is_not_utf_8_is_named(written: Written, tmp_path: Path) -> None:
    templates = written({"mine/subject.txt": "x"})
    (tmp_path / "mine" / "summary.txt").write_bytes(b"A\ncaf\xe9")
    assert templates.check("mine") == [
        f"{tmp_path}/mine/summary.txt:2: is not UTF-8; save it as UTF-8"
    ]


def test_an_unknown_template_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BrokenTemplate, match="there are: chat, low_rating, missed, offline, vip"):
        told("../chat", made_up_chats()["finished"])


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_out(path: Path) -> None:
    outside = path.parents[2] / f"{path.parents[1].name}-secret.txt"
    outside.write_text("secret", encoding="utf-8")
    path.symlink_to(outside)


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("lost.txt")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (a_pipe, "can't be read: it is a named pipe, not a file"),
        (Path.mkdir, "can't be read: it is a folder, not a file"),
        (a_link_out, "leads out of {}; put the file itself here"),
        (a_link_to_itself, "can't be read: Too many levels of symbolic links"),
        (a_link_to_nothing, "can't be read: No such file or directory"),
    ],
)
@pytest.mark.parametrize("file", ["mine/subject.txt", "mine/included.txt", "_parts/words.txt"])
def test_what_is_no_file_of_the_folder_is_named_and_never_passed_over(
    written: Written, tmp_path: Path, file: str, make: Callable[[Path], None], words: str
) -> None:
    written({"mine/summary.txt": "{% include 'included.txt' %}", "mine/included.txt": "x"})
    (tmp_path / "_parts").mkdir()
    (tmp_path / file).unlink(missing_ok=True)
    make(tmp_path / file)
    templates = Templates(tmp_path, shipped("templates"))
    assert templates.check("mine") == [f"{tmp_path / file}: {words.format(tmp_path)}"]
    assert "secret" not in str(templates.check("mine"))


def test_a_template_of_nothing_but_a_pipe_is_one_that_can_t_be_read(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    os.mkfifo(tmp_path / "mine" / "subject.txt")
    assert "mine" in Templates(tmp_path, shipped("templates")).names


@pytest.mark.parametrize(
    "expression",
    [
        "''.__class__.__mro__",
        "''['__class__']",
        "visitor.__class__",
        "visitor['__init__']",
        "visitor|attr('__class__')",
        "chat.__init__.__globals__",
        "self.__init__.__globals__",
        "self._TemplateReference__context",
        "lipsum.__globals__['os']",
        "cycler.__init__",
        "joiner",
        "namespace(a=1)",
        "config",
        "request",
        "'%s'|format(1)",
        "'{0.__class__}'.format(1)",
        "'{:>1000000000}'.format(1)",
        "'x'.ljust(10**9)",
        "'%1000000000d' % 1",
        "'x'|center(100000000)",
        "'x'|indent(100000000)",
        "'x'|replace('x', 'y')",
        "'<b>'|safe",
        "visitor|tojson",
        "visitor|pprint",
        "['safe']|map('safe')|list",
        "[visitor]|map(attribute='__class__')|first",
        "[1]|random",
        "[0]*10**8",
        "9**9**9",
        "chat.agents.append('x')",
        "visitor.update({'name': 'x'})",
        "visitor.variables.items()",
        "transcript.head.clear()",
        "dict(a=1)",
        "range(5)",
        "_.__globals__",
        "_.__closure__",
        "ngettext.__globals__",
        "_()",
        "_(*['x'])",
        "(pages|map(attribute='title')).gi_frame",
        "(pages|select).gi_code",
        "pages|map(attribute='title.__class__')|join",
        "pages|sort(attribute='__class__')|list|length",
        "pages|selectattr('__class__')|list|length",
        "pages|groupby('__class__')",
        "visitor|items|list|first|last|attr('__class__')",
        "('x'|breaks).__html__",
        "_('{x}', x=self)",
        "_",
        "ngettext",
        "self",
        "pages|map(attribute='title')",
        "visitor is callable",
        "{}.__class__",
        "chat.agents.__reduce_ex__(2)",
    ],
)
def test_an_expression_that_reaches_out_of_the_sandbox_is_refused(
    written: Written, expression: str
) -> None:
    templates = written({"mine/body.txt": "{{ " + expression + " }}"})
    with pytest.raises(BrokenTemplate):
        told("mine", made_up_chats()["finished"], templates)


@pytest.mark.parametrize(
    "source",
    [
        "{% set a = 'x' * 9 %}",
        "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a ~ a ~ a %}" * 12 + "{{ a }}",
        "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a + a %}" * 24 + "{{ a }}",
        "{% set a = [1, 2] %}" + "{% set a = a + a %}" * 24 + "{{ a }}",
        "{% set a %}xxxxxxxxxx{% endset %}" + "{% set a %}{{ a }}{{ a }}{{ a }}{{ a }}{% endset %}" * 12,
        "{% set a = 'xxxxxxxxxx' %}" + "{% set a = _('{a}{a}{a}{a}{a}{a}{a}{a}', a=a) %}" * 9,
        "{% set a = ['xxxxxxxxxx'] %}" + "{% set a = [[a, a, a, a]|join] %}" * 14,
        "{% macro m(n) %}" + "x" * 1000 + "{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        "{% for a in m %}" * 200 + "{% endfor %}" * 200,
        "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
        "{{ " + "[" * 3_000 + "]" * 3_000 + " }}",
        "{{ " + "not " * 15_000 + "1 }}",
        "{{ 1" + "+1" * 40_000 + " }}",
        "{{ visitor" + ".name" * 19_000 + " }}",
        "{{ 'x'" + "|trim" * 19_000 + " }}",
        "{% if 1 %}" * 4_000 + "{% endif %}" * 4_000,
        "{% for a in [1] %}" * 200 + "{% endfor %}" * 200,
        "{{ 1 if 0 else " * 6_000 + "1 }}",
        "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
        "{% include 'body.txt' %}",
        "{% extends 'body.txt' %}",
        "{% import 'body.txt' as b %}{{ b }}",
        "{% block b %}{{ self.b() }}{% endblock %}",
        "{% macro m(a) %}{{ m([a, a]) }}{% endmacro %}{{ m([]) }}",
    ],
)  # fmt: skip
def test_a_template_that_grows_without_measure_is_stopped(written: Written, source: str) -> None:
    templates = written({"mine/body.txt": source})
    with pytest.raises(BrokenTemplate):
        told("mine", made_up_chats()["finished"], templates)

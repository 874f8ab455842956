"""Whatever stands in a rules file, reading it ends: with rules, or with problems that a person can read."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.chat import Author, Chat, Message, Variable, Visitor
from relay.rules import RuleBook, RulesError, read_rules
from relay.rules.fields import FIELDS
from relay.rules.operators import OPERATORS
from relay.rules.reading.rules_file import read_bytes
from relay.transports.registry import TRANSPORTS
from tests.rules.books import TEMPLATES, a_book, a_rule_when

EXAMPLE = (Path(__file__).parents[2] / "rules.example.yaml").read_bytes()
_HEAD = "destinations: {desk: {email: {to: desk@example.com}}}\nrules:\n"


def read(source: bytes) -> RuleBook | None:
    """The rules; None after problems that are as they should be."""
    try:
        return read_rules(source, "rules.yaml", transports=TRANSPORTS, templates=TEMPLATES)
    except RulesError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.message
            assert str(problem).startswith("rules.yaml")
            assert "\n" not in str(problem)
            assert len(str(problem)) < 1000
        return None


_WORDS = st.sampled_from(
    [
        *FIELDS,
        *OPERATORS,
        "any",
        "all",
        "not",
        "when",
        "name",
        "send_to",
        "rules",
        "destinations",
        "email",
        "slack",
        "to",
        "webhook",
        "desk",
        "office",
        "schedules",
        "days",
        "hours",
        "timezone",
    ]
)
_SCALARS = st.one_of(
    _WORDS,
    st.sampled_from(
        ["true", "3", "2m", "always", "$NAME", "{{ visitor.email }}", "mon-fri", "", "~"]
    ),
    st.text(max_size=20),
)
_NODES = st.recursive(
    _SCALARS.map(repr),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(_WORDS, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=25,
)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(source: bytes) -> None:
    read(source)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(source: str) -> None:
    read(source.encode("utf-8", "surrogatepass"))


@given(_NODES)
def test_any_shape_made_of_our_own_words_is_read_or_refused(node: str) -> None:
    read(node.encode("utf-8", "replace"))
    read(f"{_HEAD}  - {{name: a, send_to: desk, when: {node}}}".encode("utf-8", "replace"))
    read(f"destinations: {node}\nrules: {node}".encode("utf-8", "replace"))


@given(
    st.integers(0, len(EXAMPLE)),
    st.integers(0, 40),
    st.sampled_from(
        [b"", b"{", b"}", b"[", b": ", b"\n", b"\t", b"'", b'"', b"- ", b"#", b"\xff", b"*"]
    ),
)
def test_the_example_with_a_slip_of_the_hand_is_read_or_refused(
    at: int, length: int, slip: bytes
) -> None:
    read(EXAMPLE[:at] + slip + EXAMPLE[at + length :])


@pytest.mark.parametrize(
    "source",
    [
        "[" * 40_000,
        "{a: " * 40_000,
        "- " * 100_000,
        "a: " + "x" * 5_000_000,
        "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(1000)),
        "a: &a {x: 1}\nb: {<<: [*a, *a]}\n",
        "a: !!python/object/apply:os.system [ls]\n",
        "".join(f"key{n}: 1\n" for n in range(20_000)),
        "rules: [{name: a, send_to: b, when: {"
        + "".join(f"vistor{n}: 1, " for n in range(9000))
        + "}}]",
        "destinations:\n"
        + "".join(f"  d{n}: {{email: {{to: a@b.cz}}, fallback: d{n - 1}}}\n" for n in range(4000)),
        "schedules: {a: {days: '" + " " * 200_000 + "-'}}\nrules: []",
        "destinations: {a: {email: {to: '" + "{{ " * 60_000 + "'}}}\nrules: []",
        "destinations: {a: {email: {to: '" + "a@" * 100_000 + "'}}}\nrules: []",
        "timezone: " + "../" * 50_000 + "etc/passwd\nrules: []",
        'timezone: "\\0"\nrules: []',
        "timezone: Europe\nrules: []",
    ],
    ids=lambda source: source[:25],
)
def test_a_hostile_file_is_refused(source: str) -> None:
    assert read(source.encode()) is None


def test_a_file_may_have_600_kilobytes_and_no_byte_more() -> None:
    assert read(EXAMPLE + b"#" * (600_000 - len(EXAMPLE)))
    assert read(EXAMPLE + b"#" * (600_001 - len(EXAMPLE))) is None


def test_a_file_of_five_megabytes_is_not_said_to_have_the_few_that_were_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(EXAMPLE + b"# x\n" * 1_250_000)
    with pytest.raises(RulesError) as refused:
        read_rules(read_bytes(path), str(path), transports=TRANSPORTS, templates=TEMPLATES)
    assert str(refused.value) == (
        f"{path}: the file has more than 600 kB, which is all that a rules file may have; "
        "is it the right file?"
    )


@pytest.mark.parametrize("source", [b"\xef\xbb\xbf" + EXAMPLE, EXAMPLE.replace(b"\n", b"\r\n")])
def test_what_windows_editors_write_is_read(source: bytes) -> None:
    book = read(source)
    assert book
    assert len(book.rules) == 5


def test_a_place_is_right_after_a_byte_order_mark_and_windows_line_ends() -> None:
    with pytest.raises(RulesError, match=r"^rules.yaml:2:1: unknown key 'zone'"):
        read_rules(
            b"\xef\xbb\xbfrules: []\r\nzone: x\r\n",
            "rules.yaml",
            transports=TRANSPORTS,
            templates=TEMPLATES,
        )


def test_scalars_are_taken_as_they_are_written() -> None:
    book = a_book(
        "destinations: {no: {email: {to: a@b.cz}}}\n"
        "rules: [{name: 1.10, when: {visitor.country_code: NO}, send_to: no}]"
    )
    assert book.rules[0].name == "1.10"
    assert book.matches(Chat(account="1", id="1", visitor=Visitor(country_code="NO")))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"rules.yaml: there is no such file; RELAY_RULES names"):
        read_rules(
            read_bytes(tmp_path / "rules.yaml"),
            str(tmp_path / "rules.yaml"),
            transports=TRANSPORTS,
            templates=TEMPLATES,
        )


def test_a_folder_is_no_rules_file(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"the file can't be read: it is a folder, not a file"):
        read_rules(read_bytes(tmp_path), str(tmp_path), transports=TRANSPORTS, templates=TEMPLATES)


def test_a_file_is_loaded_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(EXAMPLE)
    book = read_rules(read_bytes(path), str(path), transports=TRANSPORTS, templates=TEMPLATES)
    assert book.timezone == ZoneInfo("Europe/Prague")


_CONDITIONS = [
    f"{{{name}: {{{operator.name}: {operand}}}}}"
    for name, operand in (("visitor.note", "x"), ("said", "x"), ("visitor.variables.x", "1"))
    for operator in OPERATORS.values()
    if FIELDS.get(name, FIELDS["visitor.note"]).kind in operator.kinds and operator.name != "empty"
]
_BOOK = a_book(
    a_rule_when("always")
    + "".join(f"  - {{name: r{n}, send_to: desk, when: {c}}}\n" for n, c in enumerate(_CONDITIONS))
    + "  - {name: t, send_to: desk, when: {began: {within: office}, ended: {outside: office}}}\n"
)


@given(
    text=st.text(st.characters(), max_size=50),
    number=st.one_of(st.floats(), st.integers(), st.text(max_size=10)),
    time=st.datetimes(timezones=st.just(ZoneInfo("UTC"))),
)
def test_no_chat_makes_the_rules_stumble(text: str, number: float | str, time: object) -> None:
    chat = Chat(
        account="1",
        id="1",
        began=time,  # type: ignore[arg-type]
        ended=time,  # type: ignore[arg-type]
        rating_comment=text,
        visitor=Visitor(note=text, variables={"x": Variable(label="X", value=number)}),
        messages=(Message(author=Author.VISITOR, text=text),),
    )
    told = _BOOK.matches(chat)
    assert told[0].rule == "The rule"
    assert told == tuple(match for verdict in _BOOK.explain(chat) for match in verdict.matches)

"""A rule turned on or off, or added, in the file's text: no other line differs, and the file says nothing else."""

from difflib import ndiff

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.files import shipped
from relay.rules.line_edits import NotSpliced, line_of_rule, names_in, switched, text_of_rule
from relay.rules.new_rule import STARTING_POINTS, NewRule, NotARule, add_rule
from tests.rules.books import a_book

HEAD = "# ours\ndestinations:\n  desk:   {email: {to: a@example.com}}   # us\nrules:\n"
STYLES = {
    "block": "  - name: One   # first\n    when: {missed: true}\n    send_to: desk\n",
    "not first": "  - when: {missed: true}\n    name: One\n    send_to: desk\n",
    "flow": "  - {name: One, when: {missed: true}, send_to: desk}  # tight\n",
    "flow quoted": "  - {name: 'One', when: {missed: true}, send_to: desk}\n",
    "flow over lines": "  - {\n      name: One,\n      when: {missed: true}, send_to: desk }\n",
    "quoted": '  - name: "One"\n    when: {missed: true}\n    send_to: desk\n',
    "folded": "  - name: >-\n      One\n\n    # why\n    when: {missed: true}\n    send_to: desk\n",
    "no indent": "- name: One\n  when:\n    any:\n      - missed: true\n      - offline: true\n  send_to: desk\n",
    "dash alone": "  -\n    name: One\n    when: always\n    send_to: [desk]\n",
    "wide dash": "  -   name: One\n      when: always\n      send_to:\n        - desk\n",
    "on already": "  - name: One\n    enabled: yes   # since May\n    when: always\n    send_to: desk\n",
    "enabled first": "  - enabled: true\n    name: One\n    when: always\n    send_to: desk\n",
}
OTHER = "\n  # the other\n  - name: Two\n    when: {offline: true}\n    send_to: desk\n"


def signs(before: bytes, after: bytes) -> str:
    """How many lines came and went."""
    old, new = (text.decode("utf-8-sig").splitlines(keepends=True) for text in (before, after))
    return "".join(sorted(line[0] for line in ndiff(old, new) if line[0] in "+-"))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("is_last", [True, False])
def test_it_is_turned_off_and_on_again(style: str, ending: str, mark: bytes, is_last: bool) -> None:
    rule = STYLES[style]
    rules = rule.rstrip("\n") if is_last else rule + (OTHER if rule.startswith(" ") else "")
    source = mark + (HEAD + rules).replace("\n", ending).encode()
    off = switched(source, "One", on=False)
    has_key = "enabled" in rule
    if has_key or "flow" in style:
        assert signs(source, off) == "+-"
    elif not (is_last and off.startswith(source)):  # else the last line gets an end
        assert signs(source, off) == "+"
    assert switched(off, "One", on=False) == off
    assert switched(source, "One", on=True) == source
    on = switched(off, "One", on=True)
    assert has_key or on == source
    with pytest.raises(NotSpliced):
        switched(source, "Three", on=False)


def test_the_example_changes_in_one_line() -> None:
    source = shipped("rules.example.yaml").read_bytes()
    off = switched(source, "VIP customers", on=False)
    assert signs(source, off) == "+"
    assert switched(off, "VIP customers", on=True) == source
    on = switched(source, "Slow answers in office hours", on=True)
    assert signs(source, on) == "-"


@pytest.mark.parametrize(
    "rules",
    [
        "  - &one {name: One, when: always, send_to: desk}\n",
        "  - name: One\n    when: always\n    send_to: desk\n  - name: One\n    when: always\n    send_to: desk\n",
        "  - ? name\n    : One\n    ? when\n    : always\n    ? send_to\n    : desk\n  - *one\n",
        "  - One\n",
        "",
    ],
)
def test_what_is_not_understood_is_left_alone(rules: str) -> None:
    with pytest.raises(NotSpliced):
        switched((HEAD + rules).encode(), "One", on=False)


@given(st.lists(st.sampled_from([*STYLES]), min_size=1, max_size=5), st.data())
def test_one_of_many_changes_alone(styles: list[str], data: st.DataObject) -> None:
    styles = [style for style in styles if STYLES[style].startswith(" ")]
    if not styles:
        return
    rules = [STYLES[style].replace("One", f"Rule {n}") for n, style in enumerate(styles)]
    source = (HEAD + "\n".join(rules)).encode()
    chosen = data.draw(st.integers(0, len(rules) - 1))
    off = switched(source, f"Rule {chosen}", on=False)
    for n in range(len(rules)):
        is_off = switched(off, f"Rule {n}", on=False) == off
        assert is_off is (n == chosen)


# -- a new rule ----------------------------------------------------------------------------------------------------

MISSED = NewRule(kind="missed", name="New", send_to=("desk",))
COMMENT = "Nobody answered."


def added(source: bytes, rule: NewRule = MISSED) -> bytes:
    return add_rule(source, rule, COMMENT, ["missed"])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("after", ["", "  # the end\n", "    # urgent: true\n\nlanguage: en\n"])
def test_a_rule_is_added_below_the_others(style: str, ending: str, mark: bytes, after: str) -> None:
    for rules in {STYLES[style] + after, (STYLES[style] + after).rstrip("\n")}:
        source = mark + (HEAD + rules).replace("\n", ending).encode()
        found = added(source)
        assert names_in(found, "rules") == ["One", "New"]
        assert text_of_rule(found, "New").splitlines()[:2] == ["# Nobody answered.", "- name: New"]
        assert signs(source, found).replace("+", "") in {"", "-"}  # a last line gets an end
        assert found.count(b"\n") == found.count(ending.encode())
        if "urgent" in after:
            assert found.index(b"urgent") < found.index(b"New") < found.index(b"language")


@pytest.mark.parametrize(
    "source",
    ["", "# ours\n", "rules:\n", "rules: []\n", "rules: ~  # none\n", "rules:\n  # none\n"],
)
def test_a_first_rule_is_added(source: str) -> None:
    text = HEAD.replace("rules:\n", source).encode()
    found = added(text)
    assert names_in(found, "rules") == ["New"]
    assert line_of_rule(found, "New") > 3
    assert [rule.name for rule in a_book(found.decode()).rules] == ["New"]


@pytest.mark.parametrize("rules", ["rules: [", "rules: [{name: A, when: always}]\n", "rules: A\n"])
def test_a_rule_is_not_added_to_what_is_not_understood(rules: str) -> None:
    with pytest.raises(NotSpliced):
        added(HEAD.replace("rules:\n", rules).encode())


def test_a_rule_is_added_to_the_example_as_a_person_would_write_it() -> None:
    source = shipped("rules.example.yaml").read_bytes()
    rule = NewRule(
        kind="words",
        name="Refunds: #1",
        send_to=("sales", "vip-room"),
        value="refund, money back,no",
        outside="office",
    )
    found = added(source, rule)
    assert (
        found
        == source
        + b"""
  # Nobody answered.
  - name: "Refunds: #1"
    when:
      said: {contains_word: [refund, money back, "no"]}
      began: {outside: office}
    send_to: [sales, vip-room]
"""
    )


@given(
    st.sampled_from([*STARTING_POINTS]),
    st.text(max_size=30).filter(str.strip),
    st.text(max_size=20),
    st.integers(1, 5),
)
def test_any_name_and_words_make_the_rule_that_was_asked_for(
    kind: str, name: str, words: str, number: int
) -> None:
    value = str(number) if STARTING_POINTS[kind].is_number else words
    rule = NewRule(kind=kind, name=name, send_to=("desk",), value=value)
    try:
        found = added((HEAD + STYLES["block"]).encode(), rule)
    except NotARule as refused:
        assert refused.field in {"name", "value"}
        return
    (_, made) = a_book(found.decode()).rules
    assert (made.send_to, made.enabled) == (("desk",), True)
    assert made.name == names_in(found, "rules")[1]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "One"}, "name"),
        ({"send_to": ()}, "send_to"),
        ({"send_to": ("room",)}, "send_to"),
        ({"within": "office"}, "when"),
        ({"kind": "low_rating", "value": "6"}, "value"),
        ({"kind": "low_rating", "value": "0"}, "value"),
        ({"kind": "slow", "value": "soon"}, "value"),
        ({"kind": "words", "value": " , "}, "value"),
    ],
)
def test_an_answer_that_makes_no_rule_is_named(changes: dict[str, object], field: str) -> None:
    rule = msgspec.structs.replace(MISSED, **changes)
    with pytest.raises(NotARule) as refused:
        added((HEAD + STYLES["block"]).encode(), rule)
    assert refused.value.field == field

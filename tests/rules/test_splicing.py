"""A rule turned on or off in the file's text: one line differs, and the file says nothing else."""

from difflib import ndiff

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.files import shipped
from relay.rules.splicing import NotSpliced, switched

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

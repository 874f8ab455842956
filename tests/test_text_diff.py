"""Texts compared by lines: whatever they are, both can be got back from what differs."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.services.text_diff import as_written, compared, edits, git_patch, merged, to_text

LINES = st.lists(st.sampled_from(["a", "b", "c", "rules:", "", "  - x", "# y"]), max_size=30)
RAW = st.lists(
    st.sampled_from([b"a", b"b: 1", b"", b"\xc5\x99", b"\xff", b"# c"]), max_size=12
).flatmap(
    lambda lines: st.tuples(
        st.sampled_from([b"", b"\xef\xbb\xbf"]),
        st.just(lines),
        st.lists(
            st.sampled_from([b"\n", b"\r\n", b"\r"]), min_size=len(lines), max_size=len(lines)
        ),
        st.booleans(),
    )
)


@given(LINES, LINES)
def test_what_differs_leads_from_the_one_to_the_other(before: list[str], after: list[str]) -> None:
    result, at = list[str](), 0
    for a, b, c, d in edits(before, after):
        assert at <= a <= b
        assert c <= d
        assert before[a:b] != after[c:d]
        result += [*before[at:a], *after[c:d]]
        at = b
    assert [*result, *before[at:]] == after


@given(LINES, LINES)
def test_a_comparison_numbers_its_lines(before: list[str], after: list[str]) -> None:
    for line in compared("\n".join(before), "\n".join(after)):
        if line.sign in "- ":
            assert ("\n".join(before)).split("\n")[line.before - 1] == line.text
        if line.sign in "+ ":
            assert ("\n".join(after)).split("\n")[line.after - 1] == line.text


@pytest.mark.parametrize("name", ["rules.yaml", "my rules ž.yaml"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\nb\nc\n", b"a\nB\nc\n"),
        (b"a\nb\nc", b"a\nb\nc\n"),
        (b"a\r\nb\r\n", b"a\r\nc\r\n"),
        (b"a\nb\n", b"b\n"),
        (b"a\n", b"a\nb\n"),
        (b"\xef\xbb\xbfa\nb\n", b"\xef\xbb\xbfa\nc"),
        (
            b"".join(b"%d\n" % n for n in range(40)),
            b"".join(b"%d\n" % (n * (n % 13 > 0)) for n in range(41)),
        ),
        (b"a\x0cb\nx\n", b"a\x0cb\ny\n"),
    ],
)
def test_git_takes_the_patch(tmp_path: Path, name: str, before: bytes, after: bytes) -> None:
    (tmp_path / name).write_bytes(before)
    patch = git_patch(before, after, name)
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"], cwd=tmp_path, input=patch, check=True
    )
    assert (tmp_path / name).read_bytes() == after
    assert git_patch(after, after, name) == b""


@given(RAW, st.data())
def test_lines_that_nobody_changed_keep_their_bytes(
    raw: tuple[bytes, list[bytes], list[bytes], bool], data: st.DataObject
) -> None:
    mark, lines, endings, is_open = raw
    source = mark + b"".join(a + b for a, b in zip(lines, endings, strict=True))
    source += b"last" if is_open else b""
    text = to_text(source)
    assert as_written(text.replace("\n", "\r\n"), source) == source
    new = data.draw(st.integers(0, text.count("\n")))
    changed = text.split("\n")
    changed.insert(new, "new line")
    result = as_written("\n".join(changed), source)
    assert to_text(result) == "\n".join(changed)
    assert result.startswith(mark)


def test_one_line_of_a_mixed_file_changes_alone() -> None:
    source = b"\xef\xbb\xbfa\r\nb\nc\r\nd\xff\r\nlast"
    text = to_text(source).replace("b", "B").replace("c", "C")
    assert as_written(text, source) == b"\xef\xbb\xbfa\r\nB\r\nC\r\nd\xff\r\nlast"


@given(LINES, LINES, LINES)
def test_changes_that_do_not_touch_are_put_together(
    base: list[str], theirs: list[str], mine: list[str]
) -> None:
    text, one, other = ("\n".join(each) for each in (base, theirs, mine))
    assert merged(text, one, text) == one
    assert merged(text, text, other) == other
    assert merged(text, one, one) in {one, None}
    assert merged(text, one, other) == merged(text, other, one)


def test_changes_of_neighbouring_lines_are_not() -> None:
    assert merged("a\nb\nc\nd", "A\nb\nc\nd", "a\nb\nc\nD") == "A\nb\nc\nD"
    assert merged("a\nb\nc\nd", "A\nb\nc\nd", "a\nB\nc\nd") is None
    assert merged("a\nb", "a\nx\nb", "a\ny\nb") is None


def test_hostile_texts_take_bounded_time() -> None:
    many = ["a\n", "b\n"] * 100_000
    assert edits(many, many[1:]) != []
    assert edits(many, ["c\n", *many[::-1], "d\n"]) != []

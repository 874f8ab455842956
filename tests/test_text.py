"""Text that somebody else typed: cleaned once, cut by what a medium pays for it."""

import sys
import unicodedata
from collections.abc import Callable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.text import (
    ELLIPSIS,
    END_OF_ISOLATE,
    ISOLATE,
    clean,
    clean_line,
    cut,
    graphemes,
    isolated,
)

Cost = Callable[[str], int]
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
WAVE = "\U0001f44b\U0001f3fd"
ACUTE = "e\u0301"

# Surrogates too: msgspec refuses them, the slow decoder does not.
any_text = st.text(st.characters(exclude_categories=()), max_size=60) | st.text(
    st.sampled_from("ab \t\r\n\x00\x1b\x7f\x85\u2028\u202e\u2066\u200e\ud83d\ude00\ufffe" + ACUTE),
    max_size=40,
)


def utf8(piece: str) -> int:
    return len(piece.encode())


def as_html(piece: str) -> int:
    return sum(5 if character == "&" else 1 for character in piece)


pieces = st.sampled_from(["a", " ", "\n", "&", ACUTE, FAMILY, WAVE, "日"])
written = st.lists(pieces, max_size=30).map("".join)
costs = st.sampled_from([len, utf8, as_html])


@given(any_text)
def test_cleaned_text_encodes_everywhere_and_holds_no_control_but_line_feed_and_tab(
    text: str,
) -> None:
    cleaned = clean(text)
    assert cleaned.encode("utf-8").decode() == cleaned
    controls = {character for character in cleaned if unicodedata.category(character) == "Cc"}
    assert controls <= {"\n", "\t"}


@given(any_text)
def test_cleaned_text_can_not_turn_a_line_around(text: str) -> None:
    overrides = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not overrides & {unicodedata.bidirectional(character) for character in clean(text)}


@given(any_text)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert clean_line(clean_line(text)) == clean_line(text)


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Mn")) | st.sampled_from(" \n\t")))
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("typed", "cleaned"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("a\u2028b\u2029c\x85d\x0be\x0cf", "a\nb\nc\nd\ne\nf"),
        ("a\tb", "a\tb"),
        ("red \x1b[31m \x00 text\x9b", "red [31m  text"),
        ("\u202egpj.exe\u2066", "gpj.exe"),
        ("\ud83d\ude00", "\U0001f600"),
        ("half \ud83d only", "half \ufffd only"),
        ("\ufffe\uffff", ""),
        (FAMILY, FAMILY),
        ("نص \u200f!", "نص \u200f!"),
    ],
)
def test_text_is_cleaned_so(typed: str, cleaned: str) -> None:
    assert clean(typed) == cleaned


@given(any_text, st.integers(1, 40))
def test_a_line_is_one_line_without_space_around_and_no_longer_than_asked(
    text: str, limit: int
) -> None:
    line = clean_line(text, limit)
    assert len(line) <= limit
    assert line == line.strip()
    assert line.splitlines() == [line] * bool(line)
    assert "  " not in line


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("  Marta\r\n\tNowak ", "Marta Nowak"),
        ("Bcc:\nall@example.com", "Bcc: all@example.com"),
        ("\u200fMarta\u200e", "Marta"),
        ("\u2028\u2029", ""),
        ("a\u00a0b", "a b"),
    ],
)
def test_a_line_is_folded_so(typed: str, line: str) -> None:
    assert clean_line(typed) == line


@given(written, st.integers(0, 80), costs)
def test_a_cut_text_costs_no_more_than_its_budget(text: str, budget: int, cost: Cost) -> None:
    short = cut(text, budget, cost)
    assert cost(short) <= budget
    assert (short == text) == (cost(text) <= budget)


@given(written, st.integers(1, 80), costs, st.sampled_from(["", "!", ELLIPSIS]))
def test_a_cut_text_keeps_as_many_whole_graphemes_as_there_is_room_for(
    text: str, budget: int, cost: Cost, mark: str
) -> None:
    short = cut(text, budget, cost, mark=mark)
    room = budget - cost(mark)
    if short == text or room < 0:
        return
    beginnings = list(accumulate(graphemes(text), initial=""))
    longest = max((one for one in beginnings if cost(one) <= room), key=len)
    assert short == longest.rstrip() + mark


def test_no_emoji_is_cut_in_two() -> None:
    assert cut(FAMILY + WAVE, len(FAMILY) + 1) == FAMILY + ELLIPSIS
    assert cut(FAMILY + WAVE, len(FAMILY)) == ELLIPSIS


def test_half_a_million_flags_are_cut_before_anybody_gives_up_waiting() -> None:
    flags = "🇨🇿" * 250_000
    assert cut(flags, 499_990) == "🇨🇿" * 249_994 + "…"


def test_without_room_for_the_mark_nothing_is_left() -> None:
    assert cut("abcdef", 2, mark="...") == ""
    assert cut("abc", 3, mark="...") == "abc"


@given(written)
def test_graphemes_put_together_are_the_text(text: str) -> None:
    assert "".join(graphemes(text)) == text


def test_each_letter_that_is_written_from_the_right_is_isolated() -> None:
    letters = [
        letter
        for letter in map(chr, range(sys.maxunicode + 1))
        if unicodedata.bidirectional(letter) in {"R", "AL", "AN"}
    ]
    assert len(letters) > 2_000
    assert [x for x in letters if isolated(f"{x}.") != f"{ISOLATE}{x}.{END_OF_ISOLATE}"] == []

"""What counts when texts are compared, for any text."""

import sys
import unicodedata
from typing import Literal

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from relay.rules.text_search import fold
from tests.rules.books import a_book, a_rule_when

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD", "NFKC", "NFKD")


@given(st.text(), st.sampled_from(FORMS))
def test_what_is_folded_stays_as_it_is_and_its_normal_form_does_not_count(
    text: str, form: Form
) -> None:
    folded = fold(text)
    assert fold(folded) == folded
    assert fold(unicodedata.normalize(form, folded)) == folded


@given(st.text(st.characters(max_codepoint=0x24F, exclude_categories=["C"])), st.sampled_from(FORMS[:2]))  # fmt: skip
def test_latin_letters_are_the_same_in_every_form_and_case(text: str, form: Form) -> None:
    assert fold(unicodedata.normalize(form, text)) == fold(text)
    assert fold(text.casefold()) == fold(text)


@given(st.text(), st.text())
def test_each_word_is_folded_by_itself(one: str, other: str) -> None:
    assert fold(one + " " + other) == f"{fold(one)} {fold(other)}".strip()


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("“refund”", "the quotes “ and ” are a part of this text; YAML knows only \" and '; write 'refund'"),
        ("{contains: „it's“}", "the quotes „ and “ are a part of this text; YAML knows only \" and '; write \"it's\""),
        ("[a, «b»]", "the quotes « and » are a part of this text; YAML knows only \" and '; write 'b'"),
        ('‘x"', "the quotes ‘ and \" are a part of this text; YAML knows only \" and '; write 'x'"),
        ('"“refund”"', ""),
        ("“a” or “b", ""),
        ("“”", ""),
    ],
)  # fmt: skip
def test_quotes_that_yaml_does_not_know_bring_a_warning_with_what_to_write(
    value: str, advice: str
) -> None:
    warned = [problem.words for problem in a_book(a_rule_when(f"{{said: {value}}}")).warnings]
    assert [words for words in warned if "quotes" in words] == ([advice] if advice else [])


def test_every_quotation_mark_of_unicode_is_compared_as_one_of_the_keyboard() -> None:
    marks = regex.findall(r"\p{Quotation_Mark}", "".join(map(chr, range(sys.maxunicode + 1))))
    assert {"‹", "›", "«", "„", "｢"} <= set(marks)
    assert [mark for mark in marks if fold(mark) not in "'\""] == []

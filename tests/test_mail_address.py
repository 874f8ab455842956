"""Addresses in one form: every spelling of an address is found by every other, and by no other address's."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.mail_address import canonical_addresses

JANA = frozenset({"jana@example.net"})
BOOKS = frozenset({"jana@xn--bcher-kva.example"})


@pytest.mark.parametrize(
    "typed",
    [
        "jana@example.net",
        " Jana@Example.NET\n",
        "jana@example.net.",
        "jana@example.net,",
        "Jana Horáková <jana@example.net>",
        '"Horáková, Jana" <JANA@EXAMPLE.NET>',
        "<jana@example.net>",
        "mailto:jana@example.net",
        "MAILTO:jana%40example.net?subject=Hello",
        "<mailto:jana@example.net>",
        "[jana@example.net](mailto:jana@example.net)",
        "jana @ example.net",
        '"jana"@example.net',
        "'jana@example.net'",
        "(jana@example.net)",
        "e-mail: jana@example.net; phone: 123",
        "jana@example.net;jana@example.net",
        "jana＠example．net",
        "ｊａｎａ@ｅｘａｍｐｌｅ.ｎｅｔ",
        "jana@example。net",
        "jana@example｡net",
        "jana﹫example.net",
        "ja\u200bna@exam\u200dple.net",
        "\ufeffjana@example.net",
        "jana@exam\u00adple.net",
        "\u202ajana@example.net\u202c",
        "jana\u2060@example.net",
        "jana@example\ufe0f.net",
        "jana@example.net ",
        "jana@example.net\u3000",
    ],
)
def test_spellings_of_one_address_are_one(typed: str) -> None:
    assert canonical_addresses(typed) == JANA


@pytest.mark.parametrize(
    "typed",
    [
        "jana@bücher.example",
        "jana@BÜCHER.example",
        "jana@xn--bcher-kva.example",
        "jana@XN--BCHER-KVA.EXAMPLE.",
        "jana@bu\u0308cher.example",
        "jana@bücher。example",
    ],
)
def test_a_domain_of_other_letters_is_one_in_both_its_forms(typed: str) -> None:
    assert canonical_addresses(typed) == BOOKS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("straße@example.net", "strasse@example.net"),
        ("jana@straße.example", "jana@strasse.example"),
        ("jana.h@example.net", "janah@example.net"),
        ("jana+1@example.net", "jana@example.net"),
        ("jána@example.net", "jana@example.net"),
        ("o'brien@example.net", "obrien@example.net"),
        ("jana@example.net", "jana@mail.example.net"),
        ("ﬁ@example.net", "fi@example.net"),
    ],
)
def test_a_local_part_keeps_its_letters(one: str, other: str) -> None:
    assert not canonical_addresses(one) & canonical_addresses(other)


def test_letters_put_together_in_another_way_are_the_same() -> None:
    for form in ("NFC", "NFD"):
        typed = unicodedata.normalize(form, "Žluťoučký@example.net")
        assert canonical_addresses(typed) == {"žluťoučký@example.net"}


def test_several_addresses_are_all_found() -> None:
    assert canonical_addresses("Jana <jana@example.net>, petr@example.net / eva@example.net") == {
        "jana@example.net",
        "petr@example.net",
        "eva@example.net",
    }


@pytest.mark.parametrize("typed", ["", "  ", "\u200b"])
def test_nothing_is_no_address(typed: str) -> None:
    assert canonical_addresses(typed) == frozenset()


def test_what_is_no_address_is_the_same_as_itself() -> None:
    assert (
        canonical_addresses(" Jana, Brno ")
        == canonical_addresses("jana,\u00a0brno")
        == {"jana, brno"}
    )


@pytest.mark.parametrize(
    "domain", ["my_host.example", "bücher.my_host.example", "-x.example", "xn--zzzzz.example"]
)
def test_a_domain_that_can_not_be_one_still_has_one_form(domain: str) -> None:
    (found,) = canonical_addresses(f"jana@{domain}")
    assert canonical_addresses(f"JANA@{domain.upper()}.") == {found}
    assert canonical_addresses(found) == {found}


@given(st.text(max_size=80), st.text(max_size=80))
@example("0", "\N{DIAERESIS}")
def test_any_text_has_a_canonical_form_that_is_its_own(one: str, other: str) -> None:
    for address in canonical_addresses(f"{one}@{other}"):
        assert canonical_addresses(address) == {address}


def test_a_long_text_takes_no_longer_than_it_is_long() -> None:
    for text in ("a" * 10**6, "@" * 10**5, "a@" * 10**5, "a " * 10**6, '"' * 10**6 + "@a"):
        canonical_addresses(text)

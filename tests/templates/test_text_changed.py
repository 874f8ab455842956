"""One text of a catalogue is changed, and every other byte of the file stays."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.languages.catalogue import OddLine, parse_catalogue
from relay.languages.catalogue_writer import NotChanged, begun, bring_up_to_date, with_text

HEAD = 'msgid ""\nmsgstr "Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n>=2 && n<=4 ? 1 : 2);\\n"\n'
ODD = f"""# mine, as I like it
{HEAD}

  msgid "Visitor"
  msgstr "Návštěvník"   \t
#. a remark
#, fuzzy, python-brace-format
msgid ""
"Missed chat: "
"{{who}}"
msgstr ""

"Zmeškaný "
"chat: {{who}}"


msgctxt "menu"
msgid "Note"
msgstr "x"
msgid "Note"
msgstr "Pozn\\u00e1mka"
msgid "{{count}} message"
msgid_plural "{{count}} messages"
msgstr[0] "{{count}} zpráva"

msgstr[1] "{{count}} zprávy"
msgstr[2] "{{count}} zpráv"
#~ msgid "gone"
#~ msgstr "pryč\""""
ONE, MANY = "{count} message", "{count} messages"


def changed(text: str, source: tuple[str, ...], *said: str) -> str:
    return with_text(text, "cs", source, said)


def said_in(text: str, source: tuple[str, ...]) -> object:
    entries = parse_catalogue(text.removeprefix("\ufeff"), Path("cs.po"), "cs").entries
    message = entries.get(source[0])
    return message and message.string


def lines_that_differ(before: str, after: str) -> tuple[set[str], set[str]]:
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return set(old) - set(new), set(new) - set(old)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_only_the_lines_of_the_text_change(end: str, mark: str) -> None:
    before = mark + ODD.replace("\n", end)
    after = changed(before, ("Visitor",), 'Host "A" \\ \t')
    gone, new = lines_that_differ(before, after)
    assert gone == {f'  msgstr "Návštěvník"   \t{end}'}
    assert new == {f'  msgstr "Host \\"A\\" \\\\ \\t"{end}'}
    assert said_in(after, ("Visitor",)) == 'Host "A" \\ \t'


def test_a_text_over_several_lines_leaves_remarks_and_is_no_longer_passed_over() -> None:
    after = changed(ODD, ("Missed chat: {who}",), "Nestihli jsme: {who}")
    gone, new = lines_that_differ(ODD, after)
    assert gone == {
        'msgstr ""\n',
        '"Zmeškaný "\n',
        '"chat: {who}"\n',
        "#, fuzzy, python-brace-format\n",
    }
    assert new == {'msgstr "Nestihli jsme: {who}"\n', "#, python-brace-format\n"}
    assert said_in(after, ("Missed chat: {who}",)) == "Nestihli jsme: {who}"


def test_a_flag_that_stood_alone_goes_with_its_line() -> None:
    before = f'{HEAD}\n#, fuzzy\nmsgid "Note"\nmsgstr "?"\n'
    assert changed(before, ("Note",), "Poznámka") == f'{HEAD}\nmsgid "Note"\nmsgstr "Poznámka"\n'


def test_all_plural_forms_are_changed_together() -> None:
    after = changed(ODD, (ONE, MANY), "1", "{count} dvě", "{count} pět")
    gone, new = lines_that_differ(ODD, after)
    assert len(gone) == len(new) == 3
    assert said_in(after, (ONE, MANY)) == ("1", "{count} dvě", "{count} pět")


def test_a_text_with_a_context_is_another_one() -> None:
    after = changed(ODD, ("Note",), "Zápis")
    assert lines_that_differ(ODD, after) == (
        {'msgstr "Pozn\\u00e1mka"\n'},
        {'msgstr "Zápis"\n'},
    )


@pytest.mark.parametrize("before", [ODD, f"{ODD}\n", ODD.replace("\n", "\r\n"), HEAD, ""])
def test_a_text_that_is_not_there_comes_at_the_end(before: str) -> None:
    after = changed(before, ("Email",), "E-mail")
    assert after.startswith(before)
    end = "\r\n" if "\r\n" in before else "\n"
    assert after.endswith(f'msgid "Email"{end}msgstr "E-mail"{end}')
    assert said_in(after, ("Email",)) == "E-mail"


def test_a_catalogue_begins_with_its_head_alone() -> None:
    new = begun("cs", version="1", now=datetime(2026, 11, 29, tzinfo=UTC))
    after = changed(new, (ONE, MANY), "{count} a", "{count} b", "{count} c")
    assert after.startswith(new)
    assert said_in(after, (ONE, MANY)) == ("{count} a", "{count} b", "{count} c")


@pytest.mark.parametrize("broken", ['msgid "a', "x", 'msgstr "a"\n', 'msgid "a"\nmsgid "b"\n'])
def test_what_is_no_catalogue_is_left_alone(broken: str) -> None:
    with pytest.raises(OddLine):
        changed(broken, ("Note",), "x")


def test_a_text_that_stands_there_without_its_plural_is_left_alone() -> None:
    before = f'{HEAD}\nmsgid "{ONE}"\nmsgstr "x"\n'
    with pytest.raises(NotChanged, match="line 4"):
        changed(before, (ONE, MANY), "a", "b", "c")


def test_what_is_said_again_by_hand_is_kept_when_the_file_is_brought_up_to_date() -> None:
    from babel.messages import Catalog  # noqa: PLC0415

    texts = Catalog()
    texts.add("gone")
    after = bring_up_to_date(changed(f"{ODD}\n", ("gone",), "zpět"), "cs", texts).text
    assert 'msgid "gone"\nmsgstr "zpět"' in after


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_whatever_is_said_can_be_read_again(said: str) -> None:
    after = changed(ODD, ("Visitor",), said)
    again = changed(after, ("Visitor",), "Návštěvník")
    assert lines_that_differ(ODD, again)[0] == {'  msgstr "Návštěvník"   \t\n'}

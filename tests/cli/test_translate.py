"""`relay translate` and `relay template`: what users change, from an installed package and with no other tool."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages import Catalog
from babel.messages.pofile import read_po

from relay.languages import CATALOGUES
from relay.languages.catalogue import forms_of, read_catalogue
from tests.cli.running import Ran
from tests.cli.running import relay as run

pytestmark = pytest.mark.long

SOURCES = '{{ _("Order {order}", order=1) }}{{ ngettext("{count} parcel", "{count} parcels", 2) }}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mytemplates").mkdir()
    return tmp_path


def relay(folder: Path, *arguments: str, **variables: str) -> Ran:
    """Typed in this folder."""
    return run(*arguments, variables={"RELAY_TEMPLATES": "mytemplates", **variables}, folder=folder)


def catalogue(folder: Path, tag: str) -> Path:
    return folder / "mytemplates" / "_translations" / f"{tag}.po"


def read(path: Path) -> Catalog:
    return read_po(BytesIO(path.read_bytes()), abort_invalid=True)


def texts(path: Path) -> set[tuple[str, ...]]:
    return {forms_of(entry.id) for entry in read(path) if entry.id}


def fill_in(path: Path, msgid: str, *said: str) -> None:
    """As an editor would: only between the quotation marks."""
    before = path.read_text("utf-8")
    empty = re.escape(msgid) + r'"\n(?:msgid_plural "[^"]*"\n)?(?:msgstr(?:\[\d\])? ""\n)+'
    (found,) = re.findall(f'msgid "{empty}', before)
    filled = found
    for words in said:
        filled = re.sub(r'(msgstr\S*) ""', rf'\1 "{words}"', filled, count=1)
    path.write_text(before.replace(found, filled), "utf-8")


def test_a_new_language_begins_with_all_that_the_relay_says_and_with_babels_plural_forms(
    folder: Path,
) -> None:
    said = relay(folder, "translate", "pl")
    assert (said.status, said.err) == (0, "")
    path = catalogue(folder, "pl")
    assert said.out.startswith("mytemplates/_translations/pl.po: written, with ")
    # Each shipped catalogue has every text (tests/templates/test_languages.py).
    assert texts(path) == texts(CATALOGUES / "cs.po")
    made = read(path)
    assert made.num_plurals == 3
    assert not any(any(forms_of(entry.string)) for entry in made if entry.id)
    assert "# Polish, for `language: pl`" in made.header_comment
    assert read_catalogue(path, "pl").mistakes == ()
    assert "#. msgstr[1] is for 2, 3, 4, 22, 23 and so on.\n" in path.read_text("utf-8")


def test_what_ones_own_templates_say_is_in_it(folder: Path) -> None:
    (folder / "mytemplates/missed").mkdir()
    (folder / "mytemplates/missed/subject.txt").write_text(SOURCES)
    (folder / "mytemplates/vip").mkdir()
    (folder / "mytemplates/vip/subject.txt").write_text("{% if %}")
    said = relay(folder, "translate", "fr")
    assert said.status == 0
    assert said.err.startswith("mytemplates/vip/subject.txt:1: ")
    assert {("Order {order}",), ("{count} parcel", "{count} parcels")} <= texts(
        catalogue(folder, "fr")
    )
    assert "#: mytemplates/missed/subject.txt\n" in catalogue(folder, "fr").read_text("utf-8")


def test_a_shipped_language_shows_what_the_relay_says_and_is_used_where_it_is_filled_in(
    folder: Path,
) -> None:
    relay(folder, "translate", "cs")
    path = catalogue(folder, "cs")
    assert "#. The relay says: Zmeškaný chat: {who}\n" in path.read_text("utf-8")
    assert not any(any(forms_of(entry.string)) for entry in read(path) if entry.id)


def test_an_update_keeps_what_is_translated_and_brings_back_what_is_said_again(
    folder: Path,
) -> None:
    subject = folder / "mytemplates/missed/subject.txt"
    subject.parent.mkdir()
    subject.write_text(SOURCES)
    relay(folder, "translate", "fr")
    path = catalogue(folder, "fr")
    fill_in(path, "Order {order}", "Commande {order}")
    fill_in(path, "{count} parcel", "{count} colis", "{count} colis")
    fill_in(path, "Country", "Pays")
    mine = path.read_text("utf-8").replace('#: mytemplates/missed/subject.txt\n#, python-brace-format\nmsgid "Order', '# As in the shop.\n#: mytemplates/missed/subject.txt\n#, python-brace-format\nmsgid "Order')  # fmt: skip
    path.write_text(mine, "utf-8")
    assert relay(folder, "translate", "fr").out == (
        f"mytemplates/_translations/fr.po: is up to date, 3 of {len(texts(path))} texts translated\n"
    )
    subject.write_text('{{ _("Bill {bill}", bill=1) }}')
    said = relay(folder, "translate", "fr").out
    assert ": 1 text added, 2 translations no longer said, kept at its end, 1 of " in said
    assert '#~ msgstr "Commande {order}"' in path.read_text("utf-8")
    assert ("Bill {bill}",) in texts(path)
    subject.write_text(SOURCES)
    said = relay(folder, "translate", "fr").out
    assert "3 of " in said
    after = path.read_text("utf-8")
    assert "#~" not in after
    assert "# As in the shop." in after
    assert sorted(after.splitlines()) == sorted(mine.splitlines())


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ('msgid "Country"\nmsgstr "Pays\n', "2: a text begins and ends with a quotation mark"),
        (
            'msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=(n%0);\\n"\n',
            "1: Plural-Forms is 'nplu",
        ),
    ],
)
def test_a_broken_catalogue_is_left_as_it_is(folder: Path, source: str, wrong: str) -> None:
    path = catalogue(folder, "fr")
    path.parent.mkdir()
    path.write_text(source)
    said = relay(folder, "translate", "fr")
    assert said.status == 2
    assert said.err.startswith(f"mytemplates/_translations/fr.po:{wrong}")
    assert "Fix that first; the file was not changed." in said.err
    assert path.read_text() == source
    assert [each.name for each in path.parent.iterdir()] == ["fr.po"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("French", "did you mean fr?"),
        ("cz", "did you mean cs?"),
        ("../fr", "name it by its tag, such as fr or pt-BR"),
    ],
)
def test_only_a_language_has_a_catalogue(folder: Path, name: str, hint: str) -> None:
    said = relay(folder, "translate", name)
    assert (said.status, said.err) == (
        2,
        f"unknown language '{name}'; {hint}\n",
    )


def test_who_has_not_named_a_folder_yet_is_told_how(tmp_path: Path) -> None:
    said = relay(tmp_path, "translate", "fr", RELAY_TEMPLATES="")
    assert said.status == 0
    assert "put this line into relay.env: RELAY_TEMPLATES=mytemplates\n" in said.out
    assert catalogue(tmp_path, "fr").is_file()
    (tmp_path / "rules.yaml").write_text(
        "language: fr\ndestinations: {desk: {slack: {webhook: $HOOK}}}\nrules: [{name: a, send_to: desk, when: always}]"
    )
    overlooked = "mytemplates: warning: nothing reads this folder: RELAY_TEMPLATES is not set\n"
    checked = relay(tmp_path, "check", RELAY_TEMPLATES="")
    assert checked.status == 1
    assert overlooked in checked.err
    served = relay(tmp_path, "serve", RELAY_TEMPLATES="")
    assert "nothing reads this folder: RELAY_TEMPLATES is not set" in served.err
    assert relay(tmp_path, "check").status == 0


def test_check_names_the_mistakes_of_catalogues(folder: Path) -> None:
    (folder / "rules.yaml").write_text(
        "destinations: {desk: {slack: {webhook: $HOOK}}}\nrules: [{name: a, send_to: desk, when: always}]"
    )
    path = catalogue(folder, "fr")
    path.parent.mkdir()
    path.write_text(
        'msgid "Missed chat: {who}"\nmsgstr "Manqué"\n\nmsgid "Chat with {who}"\nmsgstr "{qui}, {who}"\n'
        '\nmsgid "Hi"\nmsgstr "Salut"\n'
    )
    said = relay(folder, "check", HOOK="https://hooks.slack.com/services/T0/B0/x")
    place = "mytemplates/_translations/fr.po"
    assert said.status == 1
    assert said.err.splitlines() == [
        f"{place}:1: warning: msgstr does without {{who}}; is that meant?",
        f"{place}:7: warning: nothing says this text; `relay translate fr` writes those that are said",
        f"problem: {place}:4: msgstr has {{qui}}, which nothing fills in; there is {{who}}",
        "1 problem",
    ]


# -- relay template ------------------------------------------------------------------------------------------


def test_a_shipped_file_is_copied_once_and_stays_as_it_was_changed(folder: Path) -> None:
    path = folder / "mytemplates/missed/summary.txt"
    said = relay(folder, "template", "missed/summary.txt")
    assert said.out == "mytemplates/missed/summary.txt: written, as it comes with the relay\n"
    assert "words.quoted(chat.question" in path.read_text("utf-8")
    path.write_text("mine")
    said = relay(folder, "template", "missed/summary.txt")
    assert said.out == "mytemplates/missed/summary.txt: was there already, and stays\n"
    assert path.read_text() == "mine"
    listed = relay(folder, "template").out.splitlines()
    assert "missed/summary.txt  (yours: mytemplates/missed/summary.txt)" in listed
    assert "_parts/words.txt" in listed


def test_a_file_that_a_template_shares_with_chat_can_be_copied_for_it_alone(folder: Path) -> None:
    listed = relay(folder, "template").out.splitlines()
    assert "missed/facts.txt  (none of its own: uses chat/facts.txt)" in listed
    assert {"chat/facts.txt", "vip/facts.txt", "_parts/facts.txt"} <= set(listed)
    said = relay(folder, "template", "missed/facts.txt")
    assert said.status == 0
    assert (
        "Until now missed used chat/facts.txt. What you change there no longer reaches" in said.out
    )
    assert 'include "_parts/facts.txt"' in (folder / "mytemplates/missed/facts.txt").read_text()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("missed", "there are: missed/subject.txt, missed/summary.txt"),
        ("missed/sumary.txt", "did you mean missed/summary.txt"),
        ("../rules.yaml", "there are: chat/subject.txt"),
    ],
)
def test_a_file_that_is_not_there_is_refused_with_what_there_is(
    folder: Path, name: str, hint: str
) -> None:
    said = relay(folder, "template", name)
    assert said.status == 2
    assert said.err.startswith(f"there is no file “{name}”; {hint}")

"""A file of the user's that nothing reads is told of: they think that they have changed something."""

from pathlib import Path

import pytest

from tests.rules.commands import check

RULES = "destinations: {s: {email: {to: s@example.com}}}\nrules: [{name: All, when: always, send_to: s}]\n"


def warnings(folder: Path, **files: str) -> str:
    """What `relay check` says on stderr of a folder with these files."""
    (folder / "rules.yaml").write_text(RULES, "utf-8")
    for name, text in files.items():
        path = folder / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    checked = check(folder / "rules.yaml", RELAY_TEMPLATES=str(folder / "mine"))
    assert checked.exit_code == 0
    return checked.stderr.replace(str(folder / "mine"), "mine")


SLIPS = {
    "missed/subjct.txt": "mine/missed/subjct.txt: warning: it is not used; did you mean subject.txt?",
    "missed/body.htm": "mine/missed/body.htm: warning: it is not used; did you mean body.html?",
    "missed/Summary.txt": "mine/missed/Summary.txt: warning: it is not used; did you mean summary.txt?",
    "digest/lines.txt": "mine/digest/lines.txt: warning: it is not used; did you mean line.txt?",
    "subject.txt": "mine/subject.txt: warning: it is not used here; move it into a template's folder",
    "My Words/subject.txt": "mine/My Words: warning: it is not used; a template's name is made of small letters",
    "fr.po": "mine/fr.po: warning: it is not used here; move it into mine/_translations\n",
    "translations/fr.po": "mine/translations/fr.po: warning: it is not used here; move it into mine/_translations\n",
    "_translation/fr.po": "mine/_translation/fr.po: warning: it is not used here; move it into mine/_translations\n",
}  # fmt: skip
"""Files, and what is said of each."""


@pytest.mark.long
def test_a_slip_of_the_pen_is_told_of(tmp_path: Path) -> None:
    told = warnings(tmp_path, **dict.fromkeys(SLIPS, "x"))
    assert [said for said in SLIPS.values() if said not in told] == []


def test_what_is_read_is_not_told_of(tmp_path: Path) -> None:
    files = {
        "missed/subject.txt": "{% include 'subjects.txt' %}",
        "missed/subjects.txt": "x",
        "missed/README": "mine",
        "_parts/facts.txt": "City: {{ visitor.city }}",
        ".git/config": "x",
        "notes.md": "x",
        "_translations/fr.po": "",
    }
    assert "warning" not in warnings(tmp_path, **files)

"""Every text that can be translated: what the relay and templates say by `_`, `ngettext`, `gettext` and `N_`.

They are looked up in the source itself, as it is installed: there is no list that could be out of date.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract
from jinja2 import TemplateSyntaxError

from relay.files import read_file, shipped
from relay.languages import own_catalogues
from relay.languages.catalogue import Mistake, forms_of, read_catalogue
from relay.rendering.folders import FILES, MAX_SIZE

_PACKAGE = Path(__file__).parents[1]
_SAYS_SOMETHING = re.compile(rb"\b(?:_|N_|n?gettext)\(")
_AS_THE_SANDBOX = {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}
_ALIKE = 0.8
"""From 0, nothing in common, to 1."""
_LONGEST = 200
"""Characters that are compared: looking for what is alike costs by both lengths."""


def texts(own: Path | None = None) -> tuple[Catalog, list[str]]:
    """All of them, each with the files that say it: one's own templates, the shipped ones, the code.

    And what is wrong with templates that can't be looked through, each as `file:line: what`.
    """
    found, broken = Catalog(), []
    for folder, name in ((own, own.name if own else ""), (shipped("templates"), "templates")):
        broken += _add_templates(found, folder, name) if folder else []
    for path in sorted(_PACKAGE.rglob("*.py")):
        source = path.read_bytes()
        if _SAYS_SOMETHING.search(source):
            _add(found, "python", source, f"{_PACKAGE.name}/{path.relative_to(_PACKAGE)}")
    return found, broken


def never_said(folder: Path) -> Iterator[Mistake]:
    """Translations in the catalogues of a folder of templates that nothing asks for."""
    catalogues = own_catalogues(folder)
    if not catalogues:
        return
    known = {_key(entry.id) for entry in texts(folder)[0] if entry.id}
    for tag, path in catalogues.items():
        for entry in read_catalogue(path, tag, within=folder).entries:
            if entry.id and _key(entry.id) not in known:
                what = _never(entry.id, known, tag)
                yield Mistake(str(path), entry.lineno or 0, what, harmless=True)


def _key(msgid: str | list[str] | tuple[str, ...]) -> tuple[str, bool]:
    """A text with plural forms is another than the same one without."""
    return forms_of(msgid)[0], not isinstance(msgid, str)


def _never(
    msgid: str | list[str] | tuple[str, ...], known: Iterable[tuple[str, bool]], tag: str
) -> str:
    text, _ = _key(msgid)
    near = difflib.get_close_matches(text[:_LONGEST], [each for each, _ in known], 1, _ALIKE)
    if near and near[0] != text:
        return f"nothing says this text; did you mean {near[0]!r}?"
    return f"nothing says this text; `relay translate {tag}` writes those that are said"


def _add_templates(found: Catalog, folder: Path, name: str) -> list[str]:
    broken = []
    for path in sorted(folder.glob("*/*.*"), key=_in_order):
        if path.suffix not in {Path(file).suffix for file in FILES}:
            continue
        try:
            source = read_file(path, MAX_SIZE)
            _add(found, "jinja2.ext:babel_extract", source, f"{name}/{path.relative_to(folder)}")
        except TemplateSyntaxError as error:
            broken.append(f"{path}:{error.lineno}: {error.message}")
        except (OSError, UnicodeDecodeError) as error:
            broken.append(f"{path}: can't be read: {getattr(error, 'strerror', error)}")
    return broken


def _in_order(path: Path) -> tuple[bool, Path]:
    """What templates share comes after what each says for itself."""
    return path.parent.name.startswith("_"), path


def _add(found: Catalog, method: str, source: bytes, name: str) -> None:
    for line, said, _, context in extract(method, BytesIO(source), options=_AS_THE_SANDBOX):
        found.add(said, locations=[(name, line)], context=context)

"""A user's own folder of templates."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.files import shipped
from relay.languages import Languages, speak
from relay.rendering.templates import Templates
from relay.transports.override import OVERRIDES

Written = Callable[..., Templates]
OwnCatalogue = Callable[..., Templates]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A user's folder with the files given as `{"missed/subject.txt": ...}`, before the shipped ones."""

    def write(files: dict[str, str]) -> Templates:
        for name, source in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(source, encoding="utf-8")
        return Templates(tmp_path, shipped("templates"))

    return write


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[OwnCatalogue]:
    """Templates with a user's own catalogue of these translations, which this process speaks till the test ends."""

    def write(tag: str, translations: dict[str, str] | None = None, source: str = "") -> Templates:
        pairs = (f'msgid "{a}"\nmsgstr "{b}"\n' for a, b in (translations or {}).items())
        path = tmp_path / "_translations" / f"{tag}.po"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source or "\n".join(pairs), encoding="utf-8")
        templates = Templates(tmp_path, shipped("templates"), finish=OVERRIDES)
        speak(templates.languages)
        return templates

    yield write
    speak(Languages())

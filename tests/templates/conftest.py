"""A user's own folder of templates."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relay.shipped import shipped
from relay.templates import Templates

Written = Callable[..., Templates]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A user's folder with the files given as `{"missed/subject.txt": ...}`, before the shipped ones."""

    def write(files: dict[str, str]) -> Templates:
        for name, source in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(source, encoding="utf-8")
        return Templates(tmp_path, shipped("templates"))

    return write

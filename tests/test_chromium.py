"""What photographs the mails finds fault with what nobody could read."""

from pathlib import Path

import pytest

from tests.chromium import chromium, photograph

PROGRAM = chromium() or ""
WORDS = "<p style='font:16px sans-serif'>Somebody waited four minutes without an answer.</p>"


@pytest.mark.skipif(not PROGRAM, reason="Chromium is not installed")
@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        (WORDS, []),
        ("<p>&nbsp;</p>", ["only 1 colours: is it blank?"]),
        (
            f"{WORDS}<p style='color:#aaa;background:#fff'>Pale</p>",
            ["too pale: Pale (2.3:1)"],
        ),
        (f"{WORDS}<p style='color:#aaa;display:none'>Pale</p>", []),
        (f"{WORDS}<div style='width:500px'>x</div>", ["508 pixels wide, where 375 are seen"]),
    ],
)
def test_a_page_that_nobody_could_read_is_found(
    page: str, wrong: list[str], tmp_path: Path
) -> None:
    measured, found = photograph(PROGRAM, page, tmp_path / "page.png", width=375)
    assert found == wrong
    assert 0 < measured.height < 500

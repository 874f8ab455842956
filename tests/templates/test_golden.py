"""What readers get is what somebody has looked at: `make golden` after a change, then read the diff."""

import pytest

from relay.rendering.template_folders import DIGEST
from tests.templates.golden import BUILT_IN, CASES, FOLDER, all_files, golden_files
from tests.templates.reading import SHIPPED


@pytest.mark.parametrize("template", [*CASES, BUILT_IN, DIGEST])
def test_a_sample_chat_reads_as_it_always_did(template: str) -> None:
    for name, content in golden_files(template).items():
        assert content == (FOLDER / name).read_text(encoding="utf-8"), name


def test_every_shipped_template_has_its_golden_files_and_there_are_no_others() -> None:
    assert set(CASES) == set(SHIPPED.names)
    kept = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.*")}
    assert kept == set(all_files())

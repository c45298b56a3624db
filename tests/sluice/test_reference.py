"""The generated pages of docs/reference are what the code says now."""

from pathlib import Path

import pytest

from sluice.reference import FOLDER, reference_pages


@pytest.mark.parametrize(
    ("file", "content"), [pytest.param(*page, id=page[0].name) for page in reference_pages()]
)
def test_the_page_is_up_to_date(file: Path, content: str) -> None:
    assert file.read_text() == content, "run `make docs`"


def test_there_are_no_other_pages() -> None:
    assert set(FOLDER.glob("*")) == {file for file, _ in reference_pages() if file.parent == FOLDER}

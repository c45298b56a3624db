"""The README names what there is. Its commands and snippets are tried by test_pages.py."""

import subprocess
from itertools import chain

import pytest

from tests.support.pages import ROOT, read_blocks, read_inline_code

README = (ROOT / "README.md").read_text()

TRIED_ELSEWHERE = {
    ".venv/bin/sluice reembed": "test_reembedding.py",
    ".venv/bin/sluice migrate": "docs/operating.md",
    ".venv/bin/sluice streams": "docs/operating.md",
    ".venv/bin/dagster dev -w workspace.yaml -p 3010": "test_dev_command.py",
}


def test_every_command_in_the_text_is_tried_somewhere() -> None:
    tried = {
        line.partition("#")[0].strip()
        for block in read_blocks("sh")
        for line in block.text.splitlines()
    }
    inline = {
        text
        for page, text in read_inline_code()
        if page.name == "README.md"
        and page.parent == ROOT
        and text.startswith((".venv/bin/", "make "))
    }
    assert inline - tried == set(TRIED_ELSEWHERE)


@pytest.mark.parametrize("target", ["dev", "test", "bench"])
def test_the_make_targets_exist(target: str) -> None:
    result = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_every_subject_job_and_asset_is_listed() -> None:
    from assets.jobs import BATCH_ASSETS
    from contracts.subjects import PipelineSubject

    for name in [*PipelineSubject, *BATCH_ASSETS, *chain(*BATCH_ASSETS.values())]:
        assert f"`{name}`" in README

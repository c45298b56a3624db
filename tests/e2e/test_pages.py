"""Every command and snippet of the README and of docs/ works as printed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import nats
import psycopg
import pytest

from contracts.settings import load_settings
from contracts.subjects import PipelineSubject
from sluice.cli import main as sluice_command
from tests.support.pages import PAGES, ROOT, Block, read_blocks, read_inline_code, read_links
from tests.support.stack import (
    PlatformStack,
    running_sluice_dev,
    stack_environment_of_defaults,
    wait_until,
)

# Once there is a key, the gateway answers nobody without one: the page that makes some is the last.
COMMANDS = sorted(read_blocks("sh"), key=lambda block: block.page.name == "access.md")
_SECONDS = 600
"""Of one block; it takes a few on an idle machine. Test machines are rarely idle."""


def _place(block: Block) -> str:
    return block.place


def test_commands_are_written_in_one_way() -> None:
    others = [
        block.place
        for block in read_blocks("", "bash", "shell", "console", "shell-session", "zsh")
        if block.language or block.text.startswith(("$ ", "sluice ", ".venv/", "make ", "curl "))
    ]
    # The reference shows how a command is called, from its parser.
    assert [place for place in others if "docs/reference/" not in place] == []


@pytest.mark.parametrize(
    "block", [block for block in read_blocks() if "tested-by" in block.options], ids=_place
)
def test_what_is_tested_elsewhere_is(block: Block) -> None:
    assert (ROOT / block.options["tested-by"]).is_file()


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for page, target in read_links() if page == index}
    assert {page for page in PAGES if page not in (index, ROOT / "README.md")} <= linked


def test_links_between_pages_lead_somewhere() -> None:
    local = [(page, target) for page, target in read_links() if "://" not in target]
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page, target in local
        if not (page.parent / target.partition("#")[0]).exists()
    ]
    assert missing == []


def test_the_commands_named_in_the_text_exist() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {text}"
        for page, text in read_inline_code()
        if (words := text.removeprefix(".venv/bin/").split())[:1] == ["sluice"]
        and not _is_command(words[1:])
    ]
    assert missing == []


def _is_command(words: list[str]) -> bool:
    """Whether the words begin with a command of `sluice`; `a|b` stands for either of two."""
    command: click.Command = sluice_command
    for word in words:
        if not isinstance(command, click.Group) or word.startswith("-"):
            return True
        found = [command.commands.get(each) for each in word.split("|")]
        if None in found or found[0] is None:
            return False
        command = found[0]
    return True


def test_the_make_targets_named_in_the_text_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {
        text.split()[1]
        for _, text in read_inline_code()
        if text.startswith("make ") and len(text.split()) > 1
    }
    assert [target for target in sorted(named) if f"\n{target}:" not in makefile] == []


@pytest.mark.parametrize("block", read_blocks("toml"), ids=_place)
def test_settings_are_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := block.options.get("skip"):
        pytest.skip(reason)
    file = tmp_path / "sluice.toml"
    file.write_text(block.text)
    monkeypatch.setenv("SLUICE_CONFIG", str(file))

    load_settings()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformStack]:
    """A platform as `make dev` starts it, but for its ports, with a dead letter, number 1.

    Its folder has the checkout's files, so a command finds them; what it writes is not in it.
    """
    folder = tmp_path_factory.mktemp("checkout")
    for each in ROOT.iterdir():
        if each.name not in (".git", ".sluice", "sluice.toml"):
            (folder / each.name).symlink_to(each)
    environment = stack_environment_of_defaults()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    log = folder / "sluice-dev.log"
    with running_sluice_dev(environment, log=log, working_dir=folder) as platform:
        asyncio.run(_publish_nonsense(platform.endpoints["nats"]))
        with psycopg.connect(platform.endpoints["postgres"], autocommit=True) as connection:
            letters = "SELECT dead_letter_id FROM dead_letters"
            (row,) = wait_until(
                lambda: connection.execute(letters).fetchall(), seconds=120, what="a dead letter"
            )
        assert row == (1,)
        yield platform


async def _publish_nonsense(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    await connection.jetstream().publish(PipelineSubject.TOOL_CALL, b"no event")
    await connection.close()


def _with_addresses(text: str, platform: PlatformStack) -> str:
    """Have the text ask the test's platform, where it names the default addresses."""
    for part, port in (("gateway", 8080), ("dagster", 3000), ("encoder", 3001)):
        for host in ("127.0.0.1", "localhost"):
            text = text.replace(f"http://{host}:{port}", platform.endpoints[part])
    return text


@pytest.mark.stack
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", read_blocks("python"), ids=_place)
def test_snippets(block: Block, request: pytest.FixtureRequest) -> None:
    if reason := block.options.get("skip"):
        pytest.skip(reason)
    platform: PlatformStack = request.getfixturevalue("platform")

    result = subprocess.run(
        [sys.executable, "-c", _with_addresses(block.text, platform)],
        env=dict(platform.environment),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )

    assert result.returncode == 0, result.stderr


@pytest.mark.stack
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", COMMANDS, ids=_place)
def test_commands(block: Block, request: pytest.FixtureRequest) -> None:
    """The blocks of a page run in its order, each in a shell that stops at the first failure."""
    if reason := block.options.get("skip"):
        pytest.skip(reason)
    if "tested-by" in block.options:
        return
    platform: PlatformStack = request.getfixturevalue("platform")

    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _with_addresses(block.text, platform)],
        cwd=platform.working_dir,
        env=dict(platform.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )

    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"

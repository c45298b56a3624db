"""`sluice keys`: what is made, shown, kept and refused."""

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sluice.cli import main


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SLUICE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("SLUICE_GATEWAY_KEYS_FILE", raising=False)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["keys", *arguments])

    return invoke


def listed(run: Any) -> list[dict[str, Any]]:
    return json.loads(run("list", "--json").stdout)  # type: ignore[no-any-return]


def test_a_key_is_shown_once_and_kept_as_a_hash(run: Any, tmp_path: Path) -> None:
    created = run("create", "team", "--model", "qwen3-*", "--collection", "handbook")
    key = created.stdout.strip()
    assert key.startswith("sk-sluice-")
    file = tmp_path / "keys.json"
    assert key[-30:] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (row,) = listed(run)
    assert (row["name"], row["status"], row["models"]) == ("team", "active", ["qwen3-*"])
    assert row["collections"] == ["handbook"]
    assert key[-30:] not in run("list").stdout
    assert "sha256" not in row


def test_limits_expiry_and_capture(run: Any) -> None:
    options = ("--requests-per-minute", "60", "--tokens-per-minute", "9000", "--capture", "off")
    assert run("create", "a", *options, "--expires", "90d").exit_code == 0
    assert run("create", "b", "--expires", "2999-12-31").exit_code == 0
    first, second = listed(run)
    assert (first["requests_per_minute"], first["tokens_per_minute"]) == (60, 9000)
    assert first["content_capture"] == "off"
    assert second["expires_at"] == "2999-12-31T00:00:00Z"
    assert "60 requests" in run("list").stdout


def test_a_revoked_key_stays_in_the_list(run: Any) -> None:
    run("create", "team")
    (row,) = listed(run)
    assert run("revoke", row["key_id"]).exit_code == 0
    assert listed(run)[0]["status"] == "revoked"
    # Its name is free again.
    assert run("create", "team").exit_code == 0


def test_a_name_is_shared_only_to_rotate(run: Any) -> None:
    run("create", "team")
    refused = run("create", "team")
    assert (refused.exit_code, "--rotate" in refused.output) == (1, True)
    assert run("create", "team", "--rotate").exit_code == 0
    assert [row["status"] for row in listed(run)] == ["active", "active"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "with space"),
        ("create", "line\nfeed"),
        ("create", "a", "--expires", "tomorrow"),
        ("create", "a", "--expires", "2001-01-01"),
        ("create", "a", "--requests-per-minute", "0"),
        ("create", "a", "--capture", "some"),
        ("revoke", "0123456789ab"),
    ],
)
def test_what_is_refused(run: Any, arguments: tuple[str, ...], tmp_path: Path) -> None:
    refused = run(*arguments)
    assert refused.exit_code in (1, 2)
    assert "Error" in refused.output
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "no file of API keys"),
        ('{"keys": [{"key_id": "x"}]}', "$.keys[0]"),
        ('{"key": []}', "unknown field"),
    ],
)
def test_a_wrong_file_is_named_and_kept(
    run: Any, content: str, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    for arguments in (("list",), ("create", "a"), ("revoke", "0123456789ab")):
        refused = run(*arguments)
        assert refused.exit_code == 1
        assert "keys.json" in refused.output
        assert complaint in refused.output
    assert file.read_text() == content


def test_commands_at_once_lose_no_key(run: Any) -> None:
    from datetime import UTC, datetime

    from gateway.access.api_keys import ApiKey
    from gateway.access.key_file import create_key, read_keys

    run("create", "first")
    file = Path(run("create", "second").stderr.strip().rpartition(" in ")[2])

    def create(number: int) -> None:
        template = ApiKey(
            key_id="0" * 12, name=f"n{number}", sha256="0" * 64, created_at=datetime.now(UTC)
        )
        create_key(file, template)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_keys(file)) == 10

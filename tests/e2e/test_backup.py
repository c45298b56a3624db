"""A running platform is backed up under traffic, destroyed, restored, and has lost nothing.

Its broker speaks TLS and knows its users by nkeys, as `docs/broker.md` offers.
"""

import json
import shutil
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from sluice.dagster_api import follow, launch
from tests.support.database import count_by_correlation, rows
from tests.support.stack import PlatformStack, running_sluice_dev, stack_environment, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

SETTINGS = {
    "SLUICE_NATS_TLS": "true",
    "SLUICE_NATS_USERS": "nkey",
    "SLUICE_ENCODER_ENABLED": "false",
    # What lies unacknowledged in a run that the backup cuts off comes again this soon.
    "SLUICE_PIPELINE_ACK_WAIT_SECONDS": "20",
}
TABLES = ("chat_history", "flow_lineage")


class Caller(threading.Thread):
    """Asks one question after the other, and notes when each was answered."""

    def __init__(self, gateway: str, api_key: str) -> None:
        super().__init__(daemon=True)
        self._url, self._key = f"{gateway}/v1/chat/completions", api_key
        self.answered: dict[str, datetime] = {}
        self.has_ended = threading.Event()

    def run(self) -> None:
        with requests.Session() as session:
            while not self.has_ended.wait(0.02):
                name = f"call-{len(self.answered)}"
                if ask(session, self._url, self._key, name) == 200:
                    self.answered[name] = datetime.now(UTC)


def ask(session: requests.Session, url: str, api_key: str, correlation_id: str) -> int:
    reply = session.post(
        url,
        json={"model": "extractive", "messages": [{"role": "user", "content": "What is it?"}]},
        headers={"X-Correlation-ID": correlation_id, "Authorization": f"Bearer {api_key}"},
        timeout=60,
    )
    return reply.status_code


def lake_contents(platform: PlatformStack, moment: datetime) -> dict[str, tuple[int, str]]:
    """Return table → rows and snapshot at the moment."""
    result = platform.sluice("lake", "at", f"{moment:%Y-%m-%dT%H:%M:%S}")
    assert result.returncode == 0, result.stderr
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    return {name: (int(count), snapshot) for name, count, snapshot in lines}


def all_persisted(platform: PlatformStack, names: list[str]) -> Callable[[], bool]:
    database = platform.endpoints["postgres"]
    return lambda: all(
        len(count_by_correlation(database, table, names)) == len(names) for table in TABLES
    )


def test_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path) -> None:
    environment = stack_environment(tmp_path, settings=SETTINGS)
    backup, data_dir = tmp_path / "backup", tmp_path / "data"
    with running_sluice_dev(environment, log=tmp_path / "first.log") as platform:
        made = platform.sluice("keys", "create", "backup-test")
        assert made.returncode == 0, made.stderr
        key = made.stdout.strip()
        caller = Caller(platform.endpoints["gateway"], key)
        caller.start()
        wait_until(lambda: len(caller.answered) > 50, seconds=60)
        wait_until(all_persisted(platform, list(caller.answered)[:50]), seconds=120)
        dagster = platform.endpoints["dagster"]
        day = {"dagster/partition": f"{datetime.now(UTC):%Y-%m-%d}"}
        follow(dagster, launch(dagster, "move_to_lake", {}, day))
        lake_moment = datetime.now(UTC).replace(microsecond=0)
        # `lake at` takes whole seconds.
        wait_until(lambda: datetime.now(UTC).timestamp() - lake_moment.timestamp() > 1, seconds=5)
        lake_moment = datetime.now(UTC)
        lake = lake_contents(platform, lake_moment)
        assert lake["chat_history"][0] >= 50

        result = platform.sluice("backup", str(backup))
        assert result.returncode == 0, result.stderr
        again = platform.sluice("backup", str(backup))
        assert again.returncode == 1
        assert "is not empty" in again.stderr
        in_the_way = platform.sluice("restore", str(backup))
        assert in_the_way.returncode == 1
        assert "stop it first" in in_the_way.stderr
        # Traffic goes on during and after the backup, until the platform is gone.
        wait_until(lambda: len(caller.answered) > 200, seconds=120)
        caller.has_ended.set()
        caller.join(60)
        platform.stop(signal.SIGTERM)

    manifest = json.loads((backup / "manifest.json").read_text())
    began = datetime.fromisoformat(manifest["created_at"])
    promised = [name for name, moment in caller.answered.items() if moment < began]
    assert len(promised) > 50
    shutil.rmtree(data_dir)
    for result in (
        platform.sluice("restore", "--verify-only", str(backup)),
        platform.sluice("restore", str(backup)),
    ):
        assert result.returncode == 0, result.stderr
    refused = platform.sluice("restore", str(backup))
    assert refused.returncode == 1
    assert "--replace" in refused.stderr

    with running_sluice_dev(environment, log=tmp_path / "second.log") as platform:
        wait_until(all_persisted(platform, promised), seconds=180, what="every promised call")
        database = platform.endpoints["postgres"]
        names = list(caller.answered)
        for table in TABLES:
            assert set(count_by_correlation(database, table, names).values()) == {1}
        assert rows(database, "SELECT dead_letter_id FROM dead_letters") == []
        assert lake_contents(platform, lake_moment) == lake
        chat = f"{platform.endpoints['gateway']}/v1/chat/completions"
        with requests.Session() as session:
            assert ask(session, chat, key, "after") == 200
            assert ask(session, chat, "sk-sluice-wrong", "after-wrong") == 401
        wait_until(all_persisted(platform, ["after"]), seconds=120)
        for table in TABLES:
            assert set(count_by_correlation(database, table, names).values()) == {1}

    damaged = next((backup / "streams").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-1])
    result = platform.sluice("restore", "--verify-only", str(backup))
    assert result.returncode == 1
    assert f"{damaged.name} is damaged" in result.stderr

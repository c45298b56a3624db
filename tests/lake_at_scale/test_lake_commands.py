"""`sluice lake`: branches of a real Nessie, and the lake as it was in both catalogs."""

import psycopg
import pytest
from click.testing import CliRunner

from assets.lake import batch
from assets.lake.batch import move_day
from assets.lake.findings import AuditFailed, Finding
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from sluice.cli import main
from tests.support.clocks import pass_a_second
from tests.support.lake_audit import TOOL_CALLS
from tests.support.lake_rows import DAY, insert_rows

# The first run on a machine fetches the servers.
pytestmark = pytest.mark.timeout(1200)


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["lake", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_branch_is_looked_at_and_merged(
    database_url: str,
    postgres: PostgresResource,
    lake: LakeResource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    with monkeypatch.context() as patch:
        patch.setattr(batch, "audit_commit", lambda *_: Finding("committed", False, {}))
        with pytest.raises(AuditFailed):
            move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)

    main_line, kept_line = _run("branches").splitlines()
    assert main_line.startswith("main\t")
    kept = kept_line.split("\t")[0]
    assert _run("diff", kept) == "sluice.tool_calls\tadded\n"
    assert _run("merge", kept) == f"{kept} is merged\n"
    assert _run("branches").splitlines()[1:] == []
    assert move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake).row_count == 0

    failed = CliRunner().invoke(main, ["lake", "diff", "no-such-branch"])
    assert failed.exit_code == 1
    assert "no-such-branch" in failed.output


@pytest.mark.parametrize("catalog", ["nessie", "embedded"])
def test_the_lake_as_it_was(
    catalog: str,
    database_url: str,
    postgres: PostgresResource,
    lake: LakeResource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLUICE_LAKE_CATALOG", catalog)
    monkeypatch.setenv("SLUICE_POSTGRES_URL", database_url)
    moments = []
    for number in range(2):
        with psycopg.connect(database_url) as connection:
            insert_rows(connection, "tool_calls", 5, first=10 * number)
        move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)
        moments.append(pass_a_second())

    counts = [
        _run("at", f"{moment:%Y-%m-%dT%H:%M:%S}").splitlines()[0].split("\t")[:2]
        for moment in moments
    ]

    assert counts == [["tool_calls", "5"], ["tool_calls", "10"]]

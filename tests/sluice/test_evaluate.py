"""The command `sluice eval` over a real database."""

import json
from pathlib import Path

import pytest
import sqlalchemy
from click.testing import CliRunner

from knowledge.documents import find_documents
from knowledge.ingest import Ingest
from sluice.cli import main


@pytest.fixture
def settings(
    database_url: str, sqlalchemy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of a database with documents, and without an encoder."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "gates.md").write_text(
        "# Gates\n\n## Opening the heavy gates\n\nThe keeper turns a wheel.\n\n"
        "## Painting the iron parts\n\nRust is removed before.\n"
    )
    engine = sqlalchemy.create_engine(sqlalchemy_url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        list(
            Ingest(connection, collection="default", max_tokens=200).run(
                list(find_documents([folder]))
            )
        )
    config = tmp_path / "sluice.toml"
    config.write_text(f'data_dir = "{tmp_path}/data"\n[encoder]\nenabled = false\n')
    monkeypatch.setenv("SLUICE_CONFIG", str(config))
    monkeypatch.setenv("DATABASE_URL", database_url)


@pytest.mark.usefixtures("settings")
def test_json_is_a_list_of_rows() -> None:
    result = CliRunner().invoke(main, ["eval", "--kinds", "headings", "--json"])

    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {each["metric"] for each in rows} == {
        "ndcg@10",
        "mrr@10",
        "recall@5",
        "recall@10",
        "recall@50",
        "recall@100",
    }
    assert rows[0] == {
        "corpus": "default",
        "query_set": "headings",
        "stage": "text",
        "metric": "ndcg@10",
        "value": 1.0,
        "low": 1.0,
        "high": 1.0,
        "query_count": 2,
        "change": None,
    }


@pytest.mark.usefixtures("settings")
def test_the_table_names_what_is_not_there(tmp_path: Path) -> None:
    judged = tmp_path / "water.toml"
    judged.write_text(
        '[[query]]\ntext = "keeper"\nrelevant = ['
        '{ grade = 3, source = "gates.md", phrase = "turns a wheel" },'
        '{ grade = 2, source = "gone.md", phrase = "nobody" }]\n'
    )
    arguments = ["eval", "--kinds", "", "--judged", str(judged)]

    first = CliRunner().invoke(main, arguments, env={"COLUMNS": "120"})

    assert first.exit_code == 0, first.output
    assert "judged:water: 1 queries" in first.stdout
    assert "no such passage: keeper → gone.md, phrase 'nobody'" in first.stderr


@pytest.mark.usefixtures("settings")
def test_what_cannot_be_evaluated_ends_the_command() -> None:
    unknown = CliRunner().invoke(main, ["eval", "--kinds", "titles"])
    empty = CliRunner().invoke(main, ["eval", "--collection", "desert"])

    assert unknown.exit_code == empty.exit_code == 1
    assert "titles: no kind of known items" in unknown.output
    assert "'desert' has no chunks" in empty.output

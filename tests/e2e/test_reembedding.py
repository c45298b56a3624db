"""Another model for the chunks of a running platform, by command alone."""

from pathlib import Path

import pytest

from tests.e2e.documents import write_documents
from tests.support.database import rows
from tests.support.stack import running_platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

_MODELS = "SELECT DISTINCT embedding_model AS model FROM document_chunks"


def test_reembedding_and_removal(tmp_path: Path) -> None:
    folder = write_documents(tmp_path / "handbook")
    with running_platform(tmp_path / "platform") as platform:
        database = platform.endpoints["postgres"]
        ingested = platform.sluice("ingest", str(folder), "--attribute", "team=hydro")
        assert ingested.returncode == 0, ingested.stdout + ingested.stderr
        assert "3 chunks written" in ingested.stdout
        (before,) = rows(database, _MODELS)
        assert before["model"].endswith("-int8")

        reembedded = platform.sluice("reembed", "--precision", "fp32")

        assert reembedded.returncode == 0, reembedded.stdout + reembedded.stderr
        (after,) = rows(database, _MODELS)
        assert after["model"].endswith("-fp32")
        assert after["model"] in reembedded.stdout.replace("\n", "")

        # The settings' encoder is still the old one.
        refused = platform.sluice("ingest", str(folder))
        assert refused.returncode == 1
        for model in (before["model"], after["model"]):
            assert model in refused.stderr.replace("\n", "")

        removed = platform.sluice("ingest", "--remove", str(folder))
        assert "3 removed" in removed.stdout, removed.stdout + removed.stderr
        assert rows(database, "SELECT FROM document_chunks") == []

"""Evaluates the stages of retrieval on the judged documentation sets.

    python -m benchmarks.retrieval_quality [CORPUS]…

Ingests each set into a database of its own, as `sluice ingest` does, and writes what `sluice eval
--json` prints for it to `results/retrieval_quality_CORPUS.json`.
"""

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
import sqlalchemy
from rich.console import Console

from benchmarks.corpora import CORPORA, CorpusMissing, load_corpus
from benchmarks.environment import only_these_settings
from benchmarks.platform_servers import running_platform_servers
from contracts.settings import EncoderSettings, load_settings, with_psycopg
from knowledge.encoding.loading import load_encoder
from knowledge.evaluation.evaluation import EvaluationRequest
from sluice.evaluate import report_rows, run_evaluation
from sluice.evaluation_table import evaluation_tables

_RESULTS = Path(__file__).parent / "results"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(CORPORA)))
def main(names: tuple[str, ...]) -> None:
    """Evaluate the corpora NAMES, or all."""
    console = Console(log_path=False)
    for name in names or tuple(CORPORA):
        try:
            _evaluate(name, console)
        except CorpusMissing as error:
            raise click.ClickException(str(error)) from error


def _evaluate(name: str, console: Console) -> None:
    corpus = CORPORA[name]
    with tempfile.TemporaryDirectory(prefix="sluice-quality-") as folder, ExitStack() as stack:
        path = Path(folder)
        stack.enter_context(only_these_settings(path, {}))
        servers = stack.enter_context(running_platform_servers(path))
        variables = servers.settings_for("admin", path)
        stack.enter_context(only_these_settings(path, variables))
        encoder = load_encoder(EncoderSettings(), path / "models")
        database = sqlalchemy.create_engine(with_psycopg(servers.database_url))
        with database.connect() as connection:
            loaded = load_corpus(connection, corpus, encoder)
        database.dispose()
        console.log(f"{name}: {loaded.chunk_count:,} chunks of {loaded.document_count:,} documents")
        request = EvaluationRequest(collection=name, judged_files=(corpus.judged_file,))
        evaluation = asyncio.run(run_evaluation(load_settings(), request))
    for table in evaluation_tables(evaluation):
        console.print(table)
    rows = report_rows(evaluation)
    content = msgspec.json.format(msgspec.json.encode(rows), indent=1)
    (_RESULTS / f"retrieval_quality_{name}.json").write_bytes(content + b"\n")


if __name__ == "__main__":
    main()

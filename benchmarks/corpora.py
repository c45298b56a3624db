"""Real documentation sets that figures are measured on, as Debian packages bring them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from knowledge.chunk_encoder import ChunkEncoder
from knowledge.document_store import refresh_statistics
from knowledge.documents import find_documents
from knowledge.embedded_text import choose_max_tokens
from knowledge.embedding_models import require_model
from knowledge.ingest import Ingest, LeftOut
from knowledge.ports import BlockingEncoder
from knowledge.vector_index import loading_vectors

_JUDGED = Path(__file__).parent / "judged"


class CorpusMissing(Exception):
    """A documentation set is not installed; the message names the package."""


@dataclass(frozen=True)
class BenchmarkCorpus:
    """A documentation set, and the questions that were judged about it."""

    name: str
    """Also of the collection it is ingested into."""
    package: str
    """Of Debian."""
    folder: Path
    judged_file: Path

    def find_files(self) -> Sequence[Path]:
        """Return the documents' files. Raises CorpusMissing."""
        if not self.folder.is_dir():
            raise CorpusMissing(
                f"{self.folder} is missing: install the Debian package {self.package}"
            )
        return list(find_documents([self.folder]))


PYTHON = BenchmarkCorpus(
    "python", "python3.11-doc", Path("/usr/share/doc/python3.11/html"), _JUDGED / "python.toml"
)
POSTGRESQL = BenchmarkCorpus(
    "postgresql",
    "postgresql-doc-15",
    Path("/usr/share/doc/postgresql-doc-15/html"),
    _JUDGED / "postgresql.toml",
)
CORPORA: Mapping[str, BenchmarkCorpus] = {each.name: each for each in (PYTHON, POSTGRESQL)}


@dataclass(frozen=True)
class LoadedCorpus:
    """What loading a corpus came to."""

    document_count: int
    chunk_count: int
    left_out: Sequence[LeftOut]
    seconds: Mapping[str, float]
    """By stage."""


def load_corpus(
    connection: Connection,
    corpus: BenchmarkCorpus,
    encoder: BlockingEncoder | None,
    *,
    max_tokens: int | None = None,
) -> LoadedCorpus:
    """Ingest `corpus` into the collection of its name, as `sluice ingest` does.

    Args:
        connection: to a migrated database, in no transaction.
        encoder: without it, chunks are stored without vectors.
        max_tokens: of a chunk; default: what suits the encoder's model.

    Raises:
        CorpusMissing: it is not installed.
        knowledge.embedding_models.EmbeddingModelMismatch: the database holds vectors of another
            model.
    """
    files = corpus.find_files()
    model = encoder.model if encoder else None
    if model is not None:
        with connection.begin():
            require_model(connection, model)
    ingest = Ingest(
        connection,
        collection=corpus.name,
        max_tokens=max_tokens or choose_max_tokens(model),
        encoder=ChunkEncoder(encoder, with_tokens=True) if encoder else None,
    )
    with loading_vectors(connection):
        results = list(ingest.run(files))
    with connection.begin():
        refresh_statistics(connection)
    left_out = [each for each in results if isinstance(each, LeftOut)]
    stored = [each for each in results if not isinstance(each, LeftOut)]
    return LoadedCorpus(
        document_count=len(stored),
        chunk_count=sum(each.chunk_count for each in stored),
        left_out=left_out,
        seconds=ingest.seconds,
    )

"""The HNSW index around bulk loads."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text

from knowledge import vector_index
from knowledge.vector_index import build_vector_index, loading_vectors


@pytest.fixture
def connection(sqlalchemy_url: str) -> Iterator[Connection]:
    engine = create_engine(sqlalchemy_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _definition(connection: Connection) -> str | None:
    with connection.begin():
        definition: str | None = connection.scalar(
            text(
                "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_document_chunks__embedding'"
            )
        )
    return definition


def test_a_load_into_an_empty_table_goes_without_the_index_and_leaves_it_as_it_was(
    connection: Connection,
) -> None:
    before = _definition(connection)
    assert before is not None

    with loading_vectors(connection):
        assert _definition(connection) is None

    assert _definition(connection) == before


def test_a_table_with_vectors_keeps_its_index(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "_FEW_VECTORS", 0)

    with loading_vectors(connection):
        assert _definition(connection) is not None


def test_a_failed_load_leaves_the_index(connection: Connection) -> None:
    with pytest.raises(RuntimeError, match="in the middle"), loading_vectors(connection):
        raise RuntimeError("in the middle")

    assert _definition(connection) is not None


def test_the_next_load_repairs_what_a_killed_one_left(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connection.begin():
        connection.execute(text("DROP INDEX ix_document_chunks__embedding"))
    monkeypatch.setattr(vector_index, "_FEW_VECTORS", 0)

    with loading_vectors(connection):
        pass

    assert _definition(connection) is not None
    assert not build_vector_index(connection)


def test_loads_at_once_take_turns(sqlalchemy_url: str, connection: Connection) -> None:
    errors: list[Exception] = []
    barrier = threading.Barrier(4)

    def load() -> None:
        engine = create_engine(sqlalchemy_url)
        try:
            with engine.connect() as own:
                barrier.wait(30)
                with loading_vectors(own):
                    pass
        except Exception as error:  # noqa: BLE001, whatever it is fails the test below
            errors.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=load) for _ in range(barrier.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert _definition(connection) is not None

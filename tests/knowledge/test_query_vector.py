"""A query's vector, as PostgreSQL receives it."""

import numpy as np
import psycopg

from knowledge.query_vector import QueryVector


async def test_the_database_reads_the_same_numbers(database_url: str) -> None:
    values = np.array([0.1, -2.5, 3e-8, 0.0], dtype=np.float32)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute(
            "SELECT (%(vector)s::vector)::real[], vector_dims(%(vector)s::vector)",
            {"vector": QueryVector(values)},
        )
        row = await cursor.fetchone()

    assert row is not None
    assert np.array_equal(np.array(row[0], dtype=np.float32), values)
    assert row[1] == 4

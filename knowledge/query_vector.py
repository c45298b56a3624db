"""A query's vector as a parameter of the driver's statements."""

import struct
from dataclasses import dataclass

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from knowledge.ports import FloatArray


@dataclass(frozen=True)
class QueryVector:
    """The parameter of `%(vector)s::vector`: in binary, a tenth of the time of 256 numbers' text.

    Without the type's OID, which differs from database to database and would have to be asked for
    on each connection: the statement names the type.
    """

    values: FloatArray
    """Shape (dimensions,)."""


class _QueryVectorDumper(Dumper):
    """As pgvector receives it: dimensions, an unused number, the values, all in network order.

    https://github.com/pgvector/pgvector/blob/master/src/vector.c (`vector_recv`)
    """

    format = Format.BINARY

    def dump(self, obj: QueryVector) -> bytes:
        return struct.pack(">HH", len(obj.values), 0) + obj.values.astype(">f4").tobytes()


psycopg.adapters.register_dumper(QueryVector, _QueryVectorDumper)

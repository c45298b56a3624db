"""Documents put into a test's database."""

from collections.abc import Iterable

from sqlalchemy import create_engine

from knowledge.chunking import chunk_document
from knowledge.document_store import store_document
from knowledge.documents import load_document

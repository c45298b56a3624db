"""Identifiers of documents, the same for whoever knows where a document came from."""

from uuid import UUID, uuid5

from knowledge.text_cleaning import escape_surrogates

_NAMESPACE = UUID("7b1f9a52-3f0e-5c0e-9a53-6f2f8f7d1c11")


def make_document_id(collection: str, source: str) -> UUID:
    """Return the ID of the document from `source` in `collection`."""
    return uuid5(_NAMESPACE, f"{escape_surrogates(collection)}\n{escape_surrogates(source)}")

"""The tool `file_search`, answered from the gateway's own documents.

Vector stores are collections of documents. The search is made with the user's last message before
the model is asked, as every retrieval of this gateway is, so it works with models that know no
tools, and what it found goes into the prompt.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.errors import InvalidRequest
from gateway.openai.requests import RetrievalControls
from gateway.responses.items import convert

FILE_SEARCH = "file_search"

_MAX_ATTRIBUTES = 20

_Name = Annotated[str, Meta(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]


class _RankingOptions(Struct):
    ranker: str | None = None
    score_threshold: Annotated[float, Meta(ge=0, le=1)] | None = None


class _Filter(Struct):
    type: str
    value: Any = None
    filters: list[dict[str, Any]] | None = None


class _Comparison(Struct):
    key: _Name
    value: _Name


class FileSearch(Struct):
    """The tool as the request has it."""

    vector_store_ids: Annotated[list[_Name], Meta(min_length=1, max_length=100)]
    type: Literal["file_search"] = "file_search"
    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None
    ranking_options: _RankingOptions | None = None
    filters: dict[str, Any] | None = None

    def controls(self) -> RetrievalControls:
        """Return how retrieval is steered by the tool. Raises InvalidRequest."""
        ranking = self.ranking_options
        return RetrievalControls(
            enabled=True,
            top_k=self.max_num_results,
            collections=self.vector_store_ids,
            min_score=None if ranking is None else ranking.score_threshold or None,
            attributes=_read_filters(self.filters) if self.filters else None,
        )


def read_file_search(tool: dict[str, Any], path: str) -> FileSearch:
    """Return the tool. Raises InvalidRequest where something of it cannot be done."""
    file_search = convert(tool, FileSearch, path)
    try:
        file_search.controls()
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param=f"{path}.filters") from error
    return file_search


def _read_filters(filters: dict[str, Any]) -> dict[str, str]:
    """Return the attributes that documents must have: what `eq` and `and` can say."""
    read = convert(filters, _Filter, "filters")
    if read.type == "and":
        attributes: dict[str, str] = {}
        for each in read.filters or ():
            for key, value in _read_filters(each).items():
                if attributes.setdefault(key, value) != value:
                    raise InvalidRequest(f"The attribute {key!r} cannot have two values.")
        if not 1 <= len(attributes) <= _MAX_ATTRIBUTES:
            raise InvalidRequest(f"A filter has 1 to {_MAX_ATTRIBUTES} comparisons.")
        return attributes
    if read.type == "eq" and isinstance(read.value, str):
        comparison = convert(filters, _Comparison, "filters")
        return {comparison.key: comparison.value}
    raise InvalidRequest(
        f"Filters of the type {read.type!r} are not available: 'eq' with a string, and 'and' of"
        " such, are."
    )

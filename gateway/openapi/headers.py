"""Header fields that many routes take or give."""

from gateway.openapi.operations import Parameter

CORRELATION_ID = Parameter(
    "X-Correlation-ID",
    "header",
    "Names the request in logs and events, and comes back. One that is not 1 to 128 characters of"
    " printable ASCII is left unheard: the gateway makes its own, as it does where none is given.",
    {"type": "string"},
)
RETRIEVAL_CONTROLS = (
    Parameter(
        "X-Sluice-Retrieval",
        "header",
        "Whether passages are looked for; the field `retrieval` goes before the headers.",
        {"enum": ["on", "off"]},
    ),
    Parameter(
        "X-Sluice-Top-K",
        "header",
        "How many passages go into the prompt at most.",
        {"type": "integer", "minimum": 1, "maximum": 100},
    ),
    Parameter(
        "X-Sluice-Collection",
        "header",
        "Collection of documents that is searched.",
        {"type": "string", "minLength": 1},
    ),
    Parameter(
        "X-Sluice-Min-Score",
        "header",
        "Least cosine similarity of a passage.",
        {"type": "number", "minimum": -1, "maximum": 1},
    ),
)

OF_EVERY_ANSWER = {"X-Correlation-ID": "The request's name in logs and events."}
OF_A_CALL = {
    **OF_EVERY_ANSWER,
    "Server-Timing": "Milliseconds of each stage: embed, search, rerank, backend.",
}
OF_A_CHAT = {
    **OF_A_CALL,
    "X-Sluice-Retrieval": "What became of the search: ok, degraded, failed or off.",
    "X-Sluice-Sources": "IDs of the chunks that went into the prompt, by commas.",
}

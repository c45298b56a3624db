"""What both ends of the encoder's gRPC interface agree on beside the proto."""

MAX_TEXTS = 2048
"""Texts of one request, over gRPC and HTTP; the OpenAI API's limit too."""

MAX_MESSAGE_BYTES = 128 * 1024 * 1024
"""Of a request and of a reply: gRPC's own default of 4 MB is 20 texts' token vectors."""

RETRY_AFTER = "retry-after"
"""Trailing metadata of RESOURCE_EXHAUSTED: seconds, after which there is room again."""

MODEL_ALIAS = "sluice-encoder"
"""Stands for whichever model is served."""

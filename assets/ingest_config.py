"""The run configuration of an ingest."""

from dagster import Config
from pydantic import Field


class IngestConfig(Config):
    """Which files become chunks of which collection."""

    paths: list[str] = Field(
        default_factory=list, description="Files and folders on the code location's host."
    )
    collection: str = Field(default="default", min_length=1)
    attributes: dict[str, str] = Field(
        default_factory=dict,
        description="Given to every document, above those of its front matter; searches can"
        " filter by them.",
    )
    max_tokens: int | None = Field(
        default=None,
        ge=50,
        le=4000,
        description="Tokens of a chunk, at most. Default: what suits the encoder's model.",
    )
    keep_missing: bool = Field(
        default=False,
        description="Keep documents that lay under the folders of `paths` and are gone.",
    )
    remove: list[str] = Field(
        default_factory=list,
        description="Files and folders whose documents are deleted, whether they exist or not.",
    )

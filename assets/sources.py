"""External assets: where the pipeline's data comes from."""

from dagster import AssetKey, AssetSpec

from contracts.streams import PIPELINE
from contracts.subjects import PipelineSubject

GATEWAY_KEY = AssetKey("gateway")
DOCUMENT_FILES_KEY = AssetKey("document_files")


def subject_key(subject: PipelineSubject) -> AssetKey:
    """Return the asset key that stands for `subject`; its dots become underscores."""
    return AssetKey(subject.replace(".", "_"))


source_assets: list[AssetSpec] = [
    AssetSpec(
        GATEWAY_KEY,
        group_name="gateway",
        description="Model calls through the gateway. It only publishes.",
        kinds={"python"},
        # The gateway looks passages up where the pipeline has put them.
        deps=[AssetKey("document_chunks")],
    ),
    AssetSpec(
        DOCUMENT_FILES_KEY,
        group_name="documents",
        description="Markdown, text, HTML and PDF files that `sluice ingest` is given.",
        kinds={"markdown"},
    ),
    *(
        AssetSpec(
            subject_key(subject),
            deps=[GATEWAY_KEY],
            group_name="gateway",
            description=f"Events on `{subject}` in the JetStream stream `{PIPELINE}`.",
            kinds={"nats"},
        )
        for subject in PipelineSubject
    ),
]

"""The domain: documents, chunks, retrieval and context composition. No Dagster, no Starlette."""

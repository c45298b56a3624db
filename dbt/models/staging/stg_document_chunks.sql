select
    chunk_id,
    document_id,
    collection,
    position as chunk_position,
    token_estimate,
    embedding_model,
    added_at
from {{ source('lake', 'document_chunks') }}

select
    chunk_id,
    document_id,
    collection,
    position as chunk_position,
    token_estimate,
    embedding_model,
    added_at,
    {{ utc_day('added_at') }} as day
from {{ source('lake', 'document_chunks') }}

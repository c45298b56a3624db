select
    query_sha256,
    chunk_id,
    model,
    score,
    scored_at,
    {{ utc_day('scored_at') }} as day
from {{ source('lake', 'rerank_scores') }}

select
    event_id,
    correlation_id,
    query,
    collection,
    method,
    top_k,
    hit_count,
    candidates,
    duration_seconds,
    status,
    embedding_model,
    rerank_model,
    occurred_at,
    {{ utc_day('occurred_at') }} as day
from {{ source('lake', 'retrieve_events') }}

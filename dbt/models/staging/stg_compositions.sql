select
    event_id,
    correlation_id,
    model,
    chunk_ids,
    dropped_chunk_ids,
    {{ list_length('chunk_ids') }} as injected_count,
    {{ list_length('dropped_chunk_ids') }} as dropped_count,
    token_count,
    token_budget,
    occurred_at,
    {{ utc_day('occurred_at') }} as day
from {{ source('lake', 'compose_events') }}

select
    event_id,
    correlation_id,
    model,
    kind,
    input_count,
    dimensions,
    duration_seconds,
    occurred_at,
    {{ utc_day('occurred_at') }} as day
from {{ source('lake', 'embedding_events') }}

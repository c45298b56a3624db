select
    event_id,
    correlation_id,
    dialect,
    model,
    backend,
    status,
    duration_seconds,
    stages,
    occurred_at,
    {{ utc_day('occurred_at') }} as day
from {{ source('lake', 'flow_lineage') }}

select
    event_id,
    correlation_id,
    tool_call_id,
    function_name,
    {{ is_json_object('arguments') }} as has_valid_arguments,
    model,
    backend,
    occurred_at,
    {{ utc_day('occurred_at') }} as day
from {{ source('lake', 'tool_calls') }}

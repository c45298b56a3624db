select
    event_id,
    correlation_id,
    api_key_name,
    model,
    backend,
    is_complete,
    messages,
    prompt,
    response,
    tools,
    content_sha256,
    finish_reason,
    prompt_tokens,
    completion_tokens,
    occurred_at,
    {{ utc_day('occurred_at') }} as day
from {{ source('lake', 'chat_pairs') }}

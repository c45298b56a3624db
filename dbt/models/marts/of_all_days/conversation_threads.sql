select
    thread_id,
    min(opening_message) as opening_message,
    count(*) as turn_count,
    max(message_count) as message_count,
    count(distinct model) as model_count,
    cast(sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0)) as bigint) as total_tokens,
    min(occurred_at) as started_at,
    max(occurred_at) as last_turn_at
from {{ ref('int_threads') }}
group by thread_id

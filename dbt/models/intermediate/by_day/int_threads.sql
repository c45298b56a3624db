-- Which conversation a pair belongs to: those of one key that begin with the same user message.
with first_user_messages as (
    select
        event_id,
        content,
        row_number() over (partition by event_id order by item_number) as user_message_number
    from {{ ref('int_pair_messages') }}
    where role = 'user' and {{ is_built('occurred_at') }}
)

select
    pairs.event_id,
    {{ hash_text("coalesce(pairs.api_key_name, '') || '|' || coalesce(first_user_messages.content, '')") }}
        as thread_id,
    first_user_messages.content as opening_message,
    {{ list_length('pairs.messages') }} as message_count,
    pairs.model,
    pairs.prompt_tokens,
    pairs.completion_tokens,
    pairs.occurred_at,
    pairs.day
from {{ ref('stg_chat_pairs') }} as pairs
inner join first_user_messages
    on
        pairs.event_id = first_user_messages.event_id
        and first_user_messages.user_message_number = 1
where {{ is_built('pairs.occurred_at') }}

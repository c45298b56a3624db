-- Each search with what came of it: what was injected, and how the call it was for ended.
with searches as (
    select * from {{ ref('stg_retrievals') }} where {{ is_built('occurred_at') }}
),

best_scores as (
    select
        event_id,
        max(vector_score) as best_vector_score
    from {{ ref('int_retrieval_candidates') }}
    where {{ is_built('occurred_at') }}
    group by event_id
),

compositions as (
    select
        searches.event_id,
        cast(sum(compositions.injected_count) as bigint) as injected_count,
        cast(sum(compositions.dropped_count) as bigint) as dropped_count,
        cast(sum(compositions.token_count) as bigint) as injected_tokens
    from searches
    inner join {{ ref('stg_compositions') }} as compositions
        on
            searches.correlation_id = compositions.correlation_id
            and {{ is_adjacent('compositions.day', 'searches.day') }}
    where {{ is_built('compositions.occurred_at', around=1) }}
    group by searches.event_id
),

calls as (
    select
        searches.event_id,
        max(case when calls.status = 'completed' then 1 else 0 end) as completed,
        max(calls.source_chunk_count) as source_chunk_count
    from searches
    inner join {{ ref('stg_chat_calls') }} as calls
        on
            searches.correlation_id = calls.correlation_id
            and {{ is_adjacent('calls.day', 'searches.day') }}
    where {{ is_built('calls.occurred_at', around=1) }}
    group by searches.event_id
)

select
    searches.event_id,
    searches.correlation_id,
    searches.query,
    searches.collection,
    searches.method,
    searches.hit_count,
    searches.duration_seconds,
    searches.status,
    best_scores.best_vector_score,
    coalesce(compositions.injected_count, 0) as injected_count,
    coalesce(compositions.dropped_count, 0) as dropped_count,
    coalesce(compositions.injected_tokens, 0) as injected_tokens,
    coalesce(calls.completed = 1 and calls.source_chunk_count > 0, false) as is_answered_with_passages,
    searches.occurred_at,
    searches.day
from searches
left join best_scores on searches.event_id = best_scores.event_id
left join compositions on searches.event_id = compositions.event_id
left join calls on searches.event_id = calls.event_id

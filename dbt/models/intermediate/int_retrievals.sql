-- Each search with what came of it: what was injected, and how the call it was for ended.
with best_scores as (
    select
        event_id,
        max(vector_score) as best_vector_score
    from {{ ref('int_retrieval_candidates') }}
    group by event_id
),

compositions as (
    select
        correlation_id,
        cast(sum(injected_count) as bigint) as injected_count,
        cast(sum(dropped_count) as bigint) as dropped_count,
        cast(sum(token_count) as bigint) as injected_tokens
    from {{ ref('stg_compositions') }}
    group by correlation_id
),

calls as (
    select
        correlation_id,
        max(case when status = 'completed' then 1 else 0 end) as completed,
        max(source_chunk_count) as source_chunk_count
    from {{ ref('stg_chat_calls') }}
    group by correlation_id
)

select
    retrievals.event_id,
    retrievals.correlation_id,
    retrievals.query,
    retrievals.collection,
    retrievals.method,
    retrievals.hit_count,
    retrievals.duration_seconds,
    retrievals.status,
    best_scores.best_vector_score,
    coalesce(compositions.injected_count, 0) as injected_count,
    coalesce(compositions.dropped_count, 0) as dropped_count,
    coalesce(compositions.injected_tokens, 0) as injected_tokens,
    coalesce(calls.completed = 1 and calls.source_chunk_count > 0, false) as is_answered_with_passages,
    retrievals.occurred_at,
    retrievals.day
from {{ ref('stg_retrievals') }} as retrievals
left join best_scores on retrievals.event_id = best_scores.event_id
left join compositions on retrievals.correlation_id = compositions.correlation_id
left join calls on retrievals.correlation_id = calls.correlation_id

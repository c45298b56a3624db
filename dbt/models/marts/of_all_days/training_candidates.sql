-- Of equal conversations the first, with what tells whether to learn from it.
with numbered as (
    select
        *,
        row_number() over (
            partition by content_sha256 order by occurred_at, event_id
        ) as occurrence,
        count(*) over (partition by content_sha256) as occurrence_count
    from {{ ref('stg_chat_pairs') }}
    where is_complete and response <> ''
),

retrieved as (
    select
        correlation_id,
        max(best_vector_score) as best_passage_score,
        max(injected_count) as injected_count
    from {{ ref('int_retrievals') }}
    group by correlation_id
)

select
    numbered.event_id,
    numbered.correlation_id,
    numbered.model,
    numbered.prompt,
    numbered.response,
    {{ list_length('numbered.messages') }} as message_count,
    cast(length(numbered.prompt) as bigint) as prompt_characters,
    cast(length(numbered.response) as bigint) as response_characters,
    coalesce(numbered.finish_reason in ('stop', 'tool_calls'), false) as is_finished,
    numbered.tools <> '[]' as has_tools,
    coalesce(retrieved.injected_count, 0) > 0 as has_passages,
    retrieved.best_passage_score,
    numbered.occurrence_count,
    numbered.occurred_at,
    numbered.day
from numbered
left join retrieved on numbered.correlation_id = retrieved.correlation_id
where numbered.occurrence = 1

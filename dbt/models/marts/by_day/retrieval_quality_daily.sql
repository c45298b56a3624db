with ranked as (
    select
        *,
        row_number() over (
            partition by day, method order by best_vector_score nulls last
        ) as score_rank,
        count(best_vector_score) over (partition by day, method) as score_count,
        row_number() over (partition by day, method order by duration_seconds) as duration_rank,
        count(*) over (partition by day, method) as duration_count
    from {{ ref('int_retrievals') }}
    where {{ is_built('occurred_at') }}
)

select
    day,
    method,
    count(*) as search_count,
    count(case when status = 'degraded' then 1 end) as degraded_count,
    count(case when status = 'failed' then 1 end) as failed_count,
    count(case when hit_count > 0 then 1 end) as hit_search_count,
    count(case when injected_count > 0 then 1 end) as injected_search_count,
    count(case when is_answered_with_passages then 1 end) as answered_search_count,
    {{ share_of_rows('hit_count > 0') }} as hit_rate,
    {{ share_of_rows('injected_count > 0') }} as injection_rate,
    {{ share_of_rows('is_answered_with_passages') }} as answer_rate,
    cast(sum(injected_count) as bigint) as injected_passage_count,
    cast(sum(dropped_count) as bigint) as dropped_passage_count,
    cast(sum(injected_tokens) as bigint) as injected_tokens,
    {{ percentile(0.5, 'best_vector_score', 'score_rank', 'score_count') }} as best_score_p50,
    {{ percentile(0.95, 'duration_seconds', 'duration_rank', 'duration_count') }}
        as duration_p95_seconds
from ranked
group by day, method

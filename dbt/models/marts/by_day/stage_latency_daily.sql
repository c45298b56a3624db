with ranked as (
    select
        *,
        row_number() over (partition by day, name order by duration_seconds) as duration_rank,
        count(*) over (partition by day, name) as duration_count
    from {{ ref('int_flow_stages') }}
    where duration_seconds is not null and {{ is_built('occurred_at') }}
)

select
    day,
    name as stage,
    count(*) as run_count,
    count(case when coalesce(status, 'ok') <> 'ok' then 1 end) as not_ok_count,
    {{ percentile(0.5, 'duration_seconds', 'duration_rank', 'duration_count') }}
        as duration_p50_seconds,
    {{ percentile(0.95, 'duration_seconds', 'duration_rank', 'duration_count') }}
        as duration_p95_seconds
from ranked
group by day, name

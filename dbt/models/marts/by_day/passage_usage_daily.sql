-- How often each passage was found, injected, left out for want of room, and in an answered prompt.
with steps as (
    select day, chunk_id, 'found' as step, vector_score
    from {{ ref('int_retrieval_candidates') }}
    where {{ is_built('occurred_at') }}
    union all
    select day, chunk_id, 'injected' as step, cast(null as double) as vector_score
    from {{ ref('int_injected_passages') }}
    where {{ is_built('occurred_at') }}
    union all
    select day, chunk_id, 'dropped' as step, cast(null as double) as vector_score
    from {{ ref('int_dropped_passages') }}
    where {{ is_built('occurred_at') }}
    union all
    select day, chunk_id, 'answered' as step, cast(null as double) as vector_score
    from {{ ref('int_used_passages') }}
    where status = 'completed' and {{ is_built('occurred_at') }}
)

select
    day,
    chunk_id,
    {% for step in ['found', 'injected', 'dropped', 'answered'] -%}
    count(case when step = '{{ step }}' then 1 end) as {{ step }}_count,
    {% endfor -%}
    max(vector_score) as best_vector_score
from steps
group by day, chunk_id

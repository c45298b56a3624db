-- How many candidates have a score in [bucket / 20, (bucket + 1) / 20), for each kind of score.
with scores as (
    {% for kind in ['vector', 'text', 'fused', 'maxsim'] -%}
    select day, method, '{{ kind }}' as score_kind, {{ kind }}_score as score
    from {{ ref('int_retrieval_candidates') }}
    where {{ kind }}_score is not null and {{ is_built('occurred_at') }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
)

select
    day,
    method,
    score_kind,
    cast(floor(score * 20) as bigint) as bucket,
    count(*) as candidate_count
from scores
group by day, method, score_kind, cast(floor(score * 20) as bigint)

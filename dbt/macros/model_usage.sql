{# Calls, tokens and latencies of each model and backend, a row for each period, which `period`, a list of columns, names. #}
{% macro model_usage(period) %}
{%- set grain = (period + ['model', 'backend']) | join(', ') %}
with ranked as (
    select
        *,
        row_number() over (partition by {{ grain }} order by duration_seconds) as duration_rank,
        count(*) over (partition by {{ grain }}) as duration_count,
        row_number() over (
            partition by {{ grain }} order by first_token_seconds nulls last
        ) as first_token_rank,
        count(first_token_seconds) over (partition by {{ grain }}) as first_token_count
    from {{ ref('stg_chat_calls') }}
    where {{ is_built('occurred_at') }}
)

select
    {{ grain }},
    count(*) as call_count,
    count(case when status = 'failed' then 1 end) as failed_count,
    count(case when status = 'cancelled' then 1 end) as cancelled_count,
    count(case when is_streaming then 1 end) as streaming_count,
    count(case when is_usage_estimate then 1 end) as estimated_usage_count,
    count(case when source_chunk_count > 0 then 1 end) as grounded_count,
    cast(sum(coalesce(prompt_tokens, 0)) as bigint) as prompt_tokens,
    cast(sum(coalesce(completion_tokens, 0)) as bigint) as completion_tokens,
    {% for share in [50, 95, 99] -%}
    {{ percentile(share / 100, 'duration_seconds', 'duration_rank', 'duration_count') }}
        as duration_p{{ share }}_seconds,
    {% endfor -%}
    {% for share in [50, 95] -%}
    {{ percentile(share / 100, 'first_token_seconds', 'first_token_rank', 'first_token_count') }}
        as first_token_p{{ share }}_seconds,
    {% endfor -%}
    max(duration_seconds) as duration_max_seconds
from ranked
group by {{ grain }}
{% endmacro %}

-- Calls of a request that failed or was cancelled count as such: their results went nowhere.
with tool_calls as (
    select * from {{ ref('stg_tool_calls') }} where {{ is_built('occurred_at') }}
),

requests as (
    select
        tool_calls.event_id,
        max(case when calls.status = 'completed' then 1 else 0 end) as completed
    from tool_calls
    inner join {{ ref('stg_chat_calls') }} as calls
        on
            tool_calls.correlation_id = calls.correlation_id
            and {{ is_adjacent('calls.day', 'tool_calls.day') }}
    where {{ is_built('calls.occurred_at', around=1) }}
    group by tool_calls.event_id
)

select
    tool_calls.day,
    tool_calls.function_name,
    tool_calls.model,
    tool_calls.backend,
    count(*) as call_count,
    count(distinct tool_calls.correlation_id) as request_count,
    count(case when not tool_calls.has_valid_arguments then 1 end) as invalid_argument_count,
    count(case when requests.completed = 0 then 1 end) as unfinished_request_count,
    {{ share_of_rows('not tool_calls.has_valid_arguments or coalesce(requests.completed, 1) = 0') }}
        as failure_rate
from tool_calls
left join requests on tool_calls.event_id = requests.event_id
group by tool_calls.day, tool_calls.function_name, tool_calls.model, tool_calls.backend

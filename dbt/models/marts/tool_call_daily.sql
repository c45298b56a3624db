-- Calls of a request that failed or was cancelled count as such: their results went nowhere.
with calls as (
    select
        correlation_id,
        max(case when status = 'completed' then 1 else 0 end) as completed
    from {{ ref('stg_chat_calls') }}
    group by correlation_id
)

select
    tool_calls.day,
    tool_calls.function_name,
    tool_calls.model,
    tool_calls.backend,
    count(*) as call_count,
    count(distinct tool_calls.correlation_id) as request_count,
    count(case when not tool_calls.has_valid_arguments then 1 end) as invalid_argument_count,
    count(case when calls.completed = 0 then 1 end) as unfinished_request_count
from {{ ref('stg_tool_calls') }} as tool_calls
left join calls on tool_calls.correlation_id = calls.correlation_id
group by tool_calls.day, tool_calls.function_name, tool_calls.model, tool_calls.backend

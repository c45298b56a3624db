-- Days whose hours have another number of calls than the day has.
select daily.day
from (
    select day, sum(call_count) as call_count from {{ ref('model_usage_daily') }} group by day
) as daily
full outer join (
    select cast(hour as date) as day, sum(call_count) as call_count
    from {{ ref('model_usage_hourly') }}
    group by cast(hour as date)
) as hourly on daily.day = hourly.day
where daily.call_count is distinct from hourly.call_count

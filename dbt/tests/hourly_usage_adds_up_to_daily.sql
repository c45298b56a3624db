{{ config(meta={'dagster': {'ref': {'name': 'model_usage_daily'}}}) }}
-- Days whose hours have another number of calls than the day has.
select daily.day
from (
    select day, sum(call_count) as call_count from {{ ref('model_usage_daily') }} group by day
) as daily
full outer join (
    select day, sum(call_count) as call_count from {{ ref('model_usage_hourly') }} group by day
) as hourly on daily.day = hourly.day
where daily.call_count is distinct from hourly.call_count

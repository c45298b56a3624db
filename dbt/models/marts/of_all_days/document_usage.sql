-- What each document's passages gave, those included that nobody ever found.
with chunks as (
    select
        chunk_id,
        document_id,
        collection,
        row_number() over (partition by chunk_id order by added_at desc) as newest_first
    from {{ ref('stg_document_chunks') }}
),

usage as (
    select
        chunk_id,
        cast(sum(found_count) as bigint) as found_count,
        cast(sum(injected_count) as bigint) as injected_count,
        cast(sum(answered_count) as bigint) as answered_count,
        max(case when found_count > 0 then day end) as last_found_on
    from {{ ref('passage_usage_daily') }}
    group by chunk_id
)

select
    chunks.document_id,
    chunks.collection,
    count(*) as passage_count,
    count(case when usage.found_count > 0 then 1 end) as found_passage_count,
    cast(sum(coalesce(usage.found_count, 0)) as bigint) as found_count,
    cast(sum(coalesce(usage.injected_count, 0)) as bigint) as injected_count,
    cast(sum(coalesce(usage.answered_count, 0)) as bigint) as answered_count,
    max(usage.last_found_on) as last_found_on
from chunks
left join usage on chunks.chunk_id = usage.chunk_id
where chunks.newest_first = 1
group by chunks.document_id, chunks.collection

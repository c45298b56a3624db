-- Questions for which the documents have no good passage, the most asked ones first in a report.
with questions as (
    select
        lower(trim(query)) as question,
        coalesce(collection, '') as collection,
        hit_count,
        best_vector_score,
        occurred_at
    from {{ ref('int_retrievals') }}
    where status <> 'failed'
)

select
    question,
    collection,
    count(*) as asked_count,
    count(case when hit_count = 0 then 1 end) as without_hits_count,
    max(best_vector_score) as best_passage_score,
    min(occurred_at) as first_asked_at,
    max(occurred_at) as last_asked_at
from questions
group by question, collection
having coalesce(max(best_vector_score), 0) < {{ var('good_passage_score') }}

{{ unnest_structs(
    ref('stg_retrievals'),
    'candidates',
    ['event_id', 'correlation_id', 'method', 'occurred_at', 'day'],
    ['chunk_id', 'rank', 'vector_score', 'text_score', 'fused_score', 'maxsim_score'],
) }}

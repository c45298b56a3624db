{{ unnest_values(
    ref('stg_compositions'),
    'dropped_chunk_ids',
    ['event_id', 'correlation_id', 'occurred_at', 'day'],
    'chunk_id',
) }}

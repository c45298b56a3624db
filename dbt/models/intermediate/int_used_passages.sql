{{ unnest_values(
    ref('stg_chat_calls'),
    'source_chunk_ids',
    ['event_id', 'correlation_id', 'status', 'occurred_at', 'day'],
    'chunk_id',
) }}

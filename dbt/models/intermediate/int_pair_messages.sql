{{ unnest_structs(
    ref('stg_chat_pairs'),
    'messages',
    ['event_id', 'correlation_id', 'occurred_at', 'day'],
    ['role', 'content', 'reasoning_content', 'name', 'tool_calls', 'tool_call_id'],
) }}

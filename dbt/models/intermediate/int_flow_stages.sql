{{ unnest_structs(
    ref('stg_flow_lineage'),
    'stages',
    ['event_id', 'correlation_id', 'model', 'backend', 'occurred_at', 'day'],
    ['name', 'offset_seconds', 'duration_seconds', 'status', 'details'],
) }}

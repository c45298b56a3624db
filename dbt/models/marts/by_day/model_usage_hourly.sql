{{ model_usage(['hour', 'day']) }}

{{ model_usage('day') }}

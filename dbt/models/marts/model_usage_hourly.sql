{{ model_usage('hour') }}

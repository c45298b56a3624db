{{ model_usage(['day']) }}

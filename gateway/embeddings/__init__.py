"""`/v1/embeddings`: vectors from the platform's encoder or from a backend."""

"""The encoder: texts to vectors, over HTTP and gRPC."""

"""The encoder's gRPC interface."""

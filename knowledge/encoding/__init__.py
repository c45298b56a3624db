"""Texts into vectors: models on ONNX Runtime, and the client of an encoder elsewhere."""

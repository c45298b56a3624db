"""Measures the platform against bare floors, on real servers: `python -m benchmarks`."""

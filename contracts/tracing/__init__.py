"""Traces: what is passed on from part to part, and how spans reach a collector."""

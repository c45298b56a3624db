"""Dagster resources: PostgreSQL and JetStream."""

"""Alembic's environment and the platform's migrations."""

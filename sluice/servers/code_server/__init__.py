"""Dagster's code server, with runs that start warm: `python -m sluice.servers.code_server`."""

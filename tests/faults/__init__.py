"""The platform on three hosts, under load, while parts of it are made to fail.

A seed decides what is asked and which faults come when. What clients were told is recorded in a
history, and a checker compares that with what is in PostgreSQL in the end.
"""

"""What the rooms agree on: subjects, events, streams, consumers, tables and settings."""

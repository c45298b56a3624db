"""Assets that persist batches of events, one table each."""

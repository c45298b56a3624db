"""JetStream pull sensors: one run for all events that wait."""

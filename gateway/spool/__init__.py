"""The local append-only files in which an event stands before its answer is complete."""

"""Several processes that serve one port, and what they share."""

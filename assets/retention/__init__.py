"""How long events are kept, and what is erased on request."""

"""The HTTP gateway: answers model calls and publishes what happened, never waiting for it."""

"""The chat completion core: every dialect is a translator in front of it."""

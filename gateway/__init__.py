"""The HTTP gateway: OpenAI-compatible chat in front of the team's own model servers."""

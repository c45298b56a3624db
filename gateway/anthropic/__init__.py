"""Anthropic's dialect: the Messages API, translated to chat completions or passed through."""

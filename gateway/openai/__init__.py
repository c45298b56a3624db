"""OpenAI's chat completions protocol: requests, answers, streams."""

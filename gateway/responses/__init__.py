"""OpenAI's Responses protocol: requests, answers, streams, and the state it keeps.

The shapes are those of the API reference (https://platform.openai.com/docs/api-reference/responses)
and of Open Responses (https://www.openresponses.org/specification).
"""

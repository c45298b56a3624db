"""Leaves the beginning of a conversation away that is too long (`truncation: "auto"`).

https://platform.openai.com/docs/api-reference/responses/create#responses-create-truncation
"""

from collections.abc import Iterator, Sequence

from gateway.responses.conversation import ChatMessage
from knowledge.prompt_budget import estimate_prompt_tokens


def drop_oldest_turns(
    messages: Sequence[ChatMessage], *, token_limit: int, tools: str = ""
) -> list[ChatMessage]:
    """Return the messages without the oldest turns, as many as need be for the rest to fit.

    A turn begins with a message of the user and goes as far as the next one, so that no tool's
    output loses its call. The last one stays, and so does what the system says.

    Args:
        token_limit: tokens that the prompt may have, as the gateway estimates them.
        tools: their definitions as JSON text.
    """
    over = estimate_prompt_tokens(messages, tools=tools) - token_limit
    dropped: set[int] = set()
    for turn in _all_turns_but_last(messages):
        if over <= 0:
            break
        over -= estimate_prompt_tokens([messages[index] for index in turn])
        dropped.update(turn)
    return [message for index, message in enumerate(messages) if index not in dropped]


def _all_turns_but_last(messages: Sequence[ChatMessage]) -> Iterator[list[int]]:
    """Yield the indices of each turn's messages."""
    turn: list[int] = []
    for index, message in enumerate(messages):
        if message["role"] == "system":
            continue
        if message["role"] == "user" and turn:
            yield turn
            turn = []
        turn.append(index)

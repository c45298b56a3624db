"""Chat events of a realistic size for the drain: about 1.8 KB of JSON each."""

from collections.abc import Iterator
from datetime import UTC, datetime

from contracts.events import Event, new_event
from contracts.payloads import ChatPersist, TokenUsage

_SYSTEM = (
    "You are the assistant of a platform team. Answer from the passages where they answer the"
    " question, name the setting that is meant, and say so where you do not know."
)
_PASSAGE = (
    "JetStream keeps a message until the limits of its stream remove it. A durable pull"
    " consumer remembers what it has delivered and what was acknowledged; a message that is"
    " not acknowledged within the ack wait is delivered again, up to the consumer's maximum"
    " of deliveries. A message with an ID that the stream has seen within the duplicate"
    " window is acknowledged and not stored a second time. "
)
_ANSWER = (
    "A restarted consumer gets every message again that was delivered and not acknowledged,"
    " once the ack wait of that delivery has passed; acknowledged ones do not come back. The"
    " wait is set on the consumer as `ack_wait`, thirty seconds unless told otherwise. To have"
    " a batch back at once, send a negative acknowledgement for its messages. Whatever reads the"
    " batch must then expect to see a message twice and write it once."
)


def chat_events(count: int) -> Iterator[Event[ChatPersist]]:
    """Yield `count` finished chat calls, no two with the same content."""
    for number in range(count):
        question = f"Case {number}: our consumer was restarted within a batch. What comes again?"
        chat = ChatPersist(
            dialect="openai.chat",
            model="qwen3-coder:30b",
            backend="vllm",
            status="completed",
            messages=[
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": f"{question}\n\n{_PASSAGE}"},
            ],
            answer={"role": "assistant", "content": f"Case {number}: {_ANSWER}"},
            parameters={"temperature": 0.2, "max_tokens": 512, "top_p": 0.95, "seed": number},
            finish_reason="stop",
            usage=TokenUsage(prompt_tokens=187, completion_tokens=94, total_tokens=281),
            started_at=datetime.now(UTC),
            duration_seconds=1.734,
            source_chunk_ids=["01890a5d-ac96-774b-bcce-b302099a8057"],
        )
        yield new_event(chat, correlation_id=f"bench-{number:08d}", api_key_name="platform-team")

"""Settles a batch from a process that did not pull it.

JetStream takes an acknowledgement as a message on the delivery's reply subject,
`$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>` (ADR-15),
from whoever may publish there. It finds the delivery by its stream sequence.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from nats.aio.client import Client

from resources.batch_messages import SequenceRange

_ACK = b"+ACK"
_GIVE_BACK = b"-NAK"
_TERMINATE = b"+TERM"


async def acknowledge(
    client: Client, *, stream: str, consumer: str, sequences: Iterable[int]
) -> None:
    """Tell the consumer that these messages are done with; unknown ones are ignored."""
    await _settle(client, _ACK, stream, consumer, sequences)


async def terminate(
    client: Client, *, stream: str, consumer: str, sequences: Iterable[int]
) -> None:
    """Tell the consumer never to deliver these messages again, with an advisory of it."""
    await _settle(client, _TERMINATE, stream, consumer, sequences)


async def give_back(
    client: Client, *, stream: str, consumer: str, sequences: Iterable[int]
) -> None:
    """Have these messages delivered again at once; settled and unknown ones are ignored."""
    # The server takes a negative acknowledgement only for a consumer sequence that it has
    # handed out and not yet passed: the newest one always is.
    info = await client.jetstream().consumer_info(stream, consumer)
    newest = info.delivered.consumer_seq if info.delivered else 0
    await _settle(client, _GIVE_BACK, stream, consumer, sequences, consumer_sequence=newest)


def sequences_within(ranges: Iterable[SequenceRange]) -> Iterator[int]:
    """Yield every stream sequence of `ranges`, those of other subjects included."""
    return chain.from_iterable(range(each.first, each.last + 1) for each in ranges)


async def _settle(
    client: Client,
    verdict: bytes,
    stream: str,
    consumer: str,
    sequences: Iterable[int],
    *,
    consumer_sequence: int = 0,
) -> None:
    for sequence in sequences:
        await client.publish(
            f"$JS.ACK.{stream}.{consumer}.1.{sequence}.{consumer_sequence}.0.0", verdict
        )
    await client.flush()

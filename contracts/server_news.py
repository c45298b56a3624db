"""Whether a server has said something on a connection where nobody has asked."""

import select


def has_news(descriptor: int) -> bool:
    """Return whether there is something to read, the end of the connection too.

    It takes no round trip: a statement to find that out would be one of the few that a search or a
    run sends.

    Args:
        descriptor: of the connection's socket, on which no answer is waited for.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))

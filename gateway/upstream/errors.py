"""What may go wrong between the gateway and a server."""


class UpstreamError(Exception):
    """A request could not be carried out."""


class ConnectFailed(UpstreamError):
    """There is no connection to the server; nothing was sent. The message says why."""


class ConnectTimedOut(ConnectFailed):
    """Connecting took longer than allowed."""

    def __init__(self) -> None:
        super().__init__("connecting took too long")


class ConnectionBroken(UpstreamError):
    """The connection ended before the answer did, or what came is no HTTP."""

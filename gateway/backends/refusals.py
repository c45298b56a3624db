"""What becomes of a backend's error answer."""

from gateway.errors import BackendError


def check_refusal(backend: str, status: int, body: bytes) -> None:
    """Return if the client is to have the backend's own words: what it did wrong, they say best.

    Raises:
        BackendError: `status` and `body` are nothing for the client, who is told this instead.
    """
    is_own_error = 400 <= status < 500 or (
        status >= 500 and body.lstrip().startswith(b"{") and b'"error"' in body
    )
    # 401 is about the gateway's key, not the client's, and its text may hold part of it.
    if not is_own_error or status == 401:
        raise BackendError(
            f"The backend {backend!r} answered with status {status}.",
            status=502,
            backend=backend,
            reason="unauthorized" if status == 401 else "refused",
        )

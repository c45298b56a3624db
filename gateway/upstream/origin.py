"""Where requests go: scheme, host and port of a URL, and what follows from them."""

import base64
import ssl
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, quote, unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """One server. Equal origins share their connections."""

    host: str
    port: int
    is_tls: bool

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        """What a connection is made with; None for plain HTTP."""
        return _tls_context() if self.is_tls else None


class Target:
    """A URL that requests are sent to."""

    def __init__(self, url: str) -> None:
        """
        Args:
            url: `http` or `https`.

        Raises:
            ValueError: it has no host, or a port that is none.
        """
        parts = urlsplit(url)
        if parts.hostname is None or parts.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"{url!r} is no HTTP URL")
        default_port = _DEFAULT_PORTS[parts.scheme]
        host = parts.hostname.encode("idna").decode("ascii")
        self.origin = Origin(host, parts.port or default_port, parts.scheme == "https")
        self.path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        self._request_target = f"{self.path}?{parts.query}" if parts.query else self.path
        self._host = f"[{host}]" if ":" in host else host
        if self.origin.port != default_port:
            self._host = f"{self._host}:{self.origin.port}"
        self.credentials = None if parts.username is None else _basic(parts)
        """What the URL's own name and password are as the field `Authorization`."""

    def head(self, method: str) -> bytes:
        """Return the beginning of a request's head: the request line and the field `Host`."""
        return f"{method} {self._request_target} HTTP/1.1\r\nHost: {self._host}\r\n".encode("ascii")


def _basic(parts: SplitResult) -> str:
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(credentials.encode()).decode('ascii')}"


@lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context

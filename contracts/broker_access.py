"""Where the broker is, and what a client proves itself and checks the server with."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from contracts.nkeys import UserNkey


class BrokerAccessError(Exception):
    """A file of the broker's settings cannot be used; the message names setting and file."""


@dataclass(frozen=True)
class BrokerAccess:
    """How one user reaches the broker."""

    url: str
    """`tls://…` is refused by a broker that does not speak TLS; `nats://…` takes either."""
    tls_ca: Path | None = None
    """Certificates that the broker's is checked with; None: those of the system."""
    client_certificate: Path | None = None
    client_key: Path | None = None
    nkey_seed: Path | None = None
    """File of the user's seed; None: the URL has user and password, if any."""

    @classmethod
    def of(cls, broker: "str | BrokerAccess") -> "BrokerAccess":
        """Take a URL alone for a broker that needs no more."""
        return cls(broker) if isinstance(broker, str) else broker

    @classmethod
    def of_paths(cls, url: str, paths: Mapping[str, str]) -> "BrokerAccess":
        """Take the files by their fields' names, as `paths` gives them."""
        return cls(url, **{name: Path(path) for name, path in paths.items()})

    @property
    def demands_tls(self) -> bool:
        return urlsplit(self.url).scheme == "tls"

    @property
    def paths(self) -> dict[str, str]:
        """Field → absolute path of the files that there are."""
        files = {
            "tls_ca": self.tls_ca,
            "client_certificate": self.client_certificate,
            "client_key": self.client_key,
            "nkey_seed": self.nkey_seed,
        }
        return {name: str(file.resolve()) for name, file in files.items() if file is not None}

    def check(self) -> Self:
        """Read all files.

        Raises:
            BrokerAccessError: one cannot be used.
        """
        _ = self.ssl_context, self.nkey
        return self

    @cached_property
    def ssl_context(self) -> ssl.SSLContext | None:
        """What TLS is spoken with; None: the system's, if at all. Raises BrokerAccessError."""
        if not (self.demands_tls or self.tls_ca or self.client_certificate):
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
        except (OSError, ValueError) as error:
            raise BrokerAccessError(f"nats.tls_ca = {self.tls_ca}: {error}") from error
        if self.client_certificate is not None:
            try:
                context.load_cert_chain(self.client_certificate, self.client_key, _no_passphrase)
            except (OSError, ValueError) as error:
                raise BrokerAccessError(
                    f"nats.client_certificate = {self.client_certificate} and"
                    f" nats.client_key = {self.client_key}: {error}"
                ) from error
        return context

    @cached_property
    def nkey(self) -> "UserNkey | None":
        """The key pair, if there is one. Raises BrokerAccessError."""
        if self.nkey_seed is None:
            return None
        from contracts.nkeys import NotAnNkeySeed, UserNkey

        try:
            return UserNkey.from_seed(self.nkey_seed.read_text())
        except (OSError, NotAnNkeySeed, UnicodeDecodeError) as error:
            raise BrokerAccessError(f"nats.nkey_seed = {self.nkey_seed}: {error}") from error


def _no_passphrase() -> str:
    # Without it OpenSSL asks at the terminal.
    raise ValueError("the key is encrypted; a key without a passphrase is needed")

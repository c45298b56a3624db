"""TLS of the gateway's own port."""

import ssl

from contracts.settings import GatewaySettings

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsError(Exception):
    """Certificate or key cannot be used; the message says why."""


class ServerTls:
    """The context that connections are accepted with; its certificate may be renewed."""

    def __init__(self, settings: GatewaySettings) -> None:
        """
        Raises:
            TlsError: the files cannot be read, or do not belong together.
        """
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = _VERSIONS[settings.tls_min_version]
        self.load(settings)

    def load(self, settings: GatewaySettings) -> None:
        """Take the certificate from now on, for new connections. Raises TlsError."""
        certificate, key = settings.tls_certificate, settings.tls_key
        if certificate is None or key is None:
            raise TlsError("gateway.tls_certificate and gateway.tls_key go together")
        try:
            # A context may be left with half of a wrong pair: try with another one first.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, _no_password)
            self.context.load_cert_chain(certificate, key, _no_password)
        except (OSError, ValueError) as error:
            raise TlsError(f"{certificate} and {key} cannot be used: {error}") from error


def open_tls(settings: GatewaySettings) -> ServerTls | None:
    """Return the TLS that the settings ask for, if any. Raises TlsError."""
    return None if settings.tls_certificate is None else ServerTls(settings)


def _no_password() -> str:
    # Without it OpenSSL asks at the terminal.
    raise ValueError("the key is encrypted; a key without a passphrase is needed")

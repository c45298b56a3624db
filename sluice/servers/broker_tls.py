"""Certificates of the embedded broker: named by the settings, or by a CA of its own."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contracts.settings import NatsSettings
from sluice.servers.private_files import write_private

_CA_DAYS = 3650
_SERVER_DAYS = 398
_CLOCKS_DIFFER = timedelta(hours=1)

_Extend = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]


class BrokerTlsError(Exception):
    """The broker's certificate cannot be used; the message says why."""


@dataclass(frozen=True)
class BrokerTls:
    """The files of a server that speaks TLS."""

    ca: Path
    certificate: Path
    key: Path

    def check(self) -> None:
        """Return if server and clients can use the files.

        Raises:
            BrokerTlsError: they cannot be read, or do not belong together.
        """
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.certificate, self.key, password=""
            )
            ssl.create_default_context(cafile=self.ca)
        except (OSError, ValueError) as error:
            raise BrokerTlsError(
                f"nats.tls_certificate = {self.certificate}, nats.tls_key = {self.key} and"
                f" nats.tls_ca = {self.ca} cannot be used: {error}"
            ) from error


def prepare_broker_tls(settings: NatsSettings, folder: Path) -> BrokerTls | None:
    """Return the files that the settings name, or make those of a CA of our own in `folder`.

    The CA stays; the server's certificate is made anew at every start.

    Raises:
        BrokerTlsError: the files that are named or were made before cannot be used.
    """
    if not settings.tls:
        return None
    if settings.tls_certificate and settings.tls_key and settings.tls_ca:
        files = BrokerTls(settings.tls_ca, settings.tls_certificate, settings.tls_key)
    else:
        files = _of_own_ca(folder, settings.host)
    files.check()
    return files


def _of_own_ca(folder: Path, host: str) -> BrokerTls:
    files = BrokerTls(folder / "ca.pem", folder / "server.pem", folder / "server-key.pem")
    ca_key_file = folder / "ca-key.pem"
    if not ca_key_file.exists() or not files.ca.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _signed(
            "Sluice broker CA", key.public_key(), "Sluice broker CA", key, _CA_DAYS, _ca_extensions
        )
        write_private(ca_key_file, _pem_of(key))
        files.ca.write_bytes(certificate)
    try:
        ca_key = serialization.load_pem_private_key(ca_key_file.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise BrokerTlsError(f"{ca_key_file} cannot be used: {error}") from error
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise BrokerTlsError(f"{ca_key_file} is not the key that was made for the broker's CA")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(
        "Sluice broker",
        key.public_key(),
        "Sluice broker CA",
        ca_key,
        _SERVER_DAYS,
        partial(_server_extensions, host=host),
    )
    write_private(files.key, _pem_of(key))
    files.certificate.write_bytes(certificate)
    return files


def _ca_extensions(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    ).add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)


def _server_extensions(builder: x509.CertificateBuilder, host: str) -> x509.CertificateBuilder:
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.DNSName(socket.gethostname()),
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.IPAddress(ip_address("::1")),
    ]
    try:
        address = ip_address(host)
    except ValueError:
        names.append(x509.DNSName(host))
    else:
        if not address.is_unspecified and not address.is_loopback:
            names.append(x509.IPAddress(address))
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def _signed(
    subject: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    days: int,
    extend: _Extend,
) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    certificate = extend(builder).sign(issuer_key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

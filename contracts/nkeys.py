"""NATS nkeys of users: an Ed25519 key pair as text, and what it signs.

The encoding is that of https://github.com/nats-io/nkeys: prefix, key, CRC-16 (XMODEM, little
endian), in base 32 without padding. A user's public key begins with `U`, a seed with `SU`.
"""

import base64
import binascii
import os
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED_PREFIX = 18 << 3
_USER_PREFIX = 20 << 3
_KEY_BYTES = 32


class NotAnNkeySeed(ValueError):
    """A text is not the seed of a user; the message says why, and does not repeat it."""


@dataclass(frozen=True, repr=False)
class UserNkey:
    """A user's key pair."""

    _seed: bytes

    @classmethod
    def new(cls) -> Self:
        return cls(os.urandom(_KEY_BYTES))

    @classmethod
    def from_seed(cls, text: str) -> Self:
        """Read a seed as `seed` writes it.

        Raises:
            NotAnNkeySeed: it is none, or not a user's.
        """
        stripped = text.strip()
        try:
            decoded = base64.b32decode(stripped + "=" * (-len(stripped) % 8))
        except binascii.Error as error:
            raise NotAnNkeySeed("it is not base 32") from error
        if len(decoded) != 2 + _KEY_BYTES + 2:
            raise NotAnNkeySeed("its length is wrong")
        content, checksum = decoded[:-2], decoded[-2:]
        if _checksum(content) != checksum:
            raise NotAnNkeySeed("its checksum is wrong")
        if content[:2] != _seed_prefix():
            raise NotAnNkeySeed("it is not the seed of a user, which begins with SU")
        return cls(content[2:])

    @property
    def seed(self) -> str:
        """What proves that one is the user: secret."""
        return _encode(_seed_prefix() + self._seed)

    @property
    def public_key(self) -> str:
        """What the server knows the user by."""
        public = self._private_key.public_key().public_bytes_raw()
        return _encode(bytes([_USER_PREFIX]) + public)

    def sign(self, nonce: str) -> bytes:
        """Return the signature of a server's nonce, in base 64."""
        return base64.b64encode(self._private_key.sign(nonce.encode()))

    @property
    def _private_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._seed)


def _seed_prefix() -> bytes:
    return bytes([_SEED_PREFIX | _USER_PREFIX >> 5, (_USER_PREFIX & 31) << 3])


def _encode(content: bytes) -> str:
    return base64.b32encode(content + _checksum(content)).decode().rstrip("=")


def _checksum(content: bytes) -> bytes:
    return binascii.crc_hqx(content, 0).to_bytes(2, "little")

"""Reasoning that a client carries for us where nothing is stored.

OpenAI encrypts it, since its clients are not to read it. A local model's reasoning is open to its
user, so `encrypted_content` is an envelope only: the text, Base64, with a mark of ours before it.
"""

import base64
import binascii

_MARK = "sluice1."


def seal_reasoning(text: str) -> str:
    """Return `text` as `encrypted_content`."""
    return _MARK + base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode()


def unseal_reasoning(encrypted: str) -> str:
    """Return the text; an empty one for what another server has sealed."""
    if not encrypted.startswith(_MARK):
        return ""
    try:
        return base64.urlsafe_b64decode(encrypted.removeprefix(_MARK)).decode()
    except (binascii.Error, ValueError):
        return ""

"""Reads the keys when the gateway starts, and refuses to be open to others without any."""

from contracts.listening import is_loopback
from contracts.settings import Settings
from gateway.access.api_keys import ApiKey
from gateway.access.control import AccessControl
from gateway.access.key_file import KeyFileError, read_keys
from gateway.access.rate_limits import LevelTable


class KeysNeeded(Exception):
    """The gateway would be open to everybody who reaches its address."""


def open_access(settings: Settings, levels: LevelTable) -> AccessControl:
    """Return the control of access as the settings and the keys file say.

    Raises:
        KeyFileError: the file is wrong, or the settings name one that is not there.
        KeysNeeded: others can reach the address, and no key is valid.
    """
    keys = read_keys_of(settings)
    may_be_open = is_loopback(settings.gateway.host)
    access = AccessControl(keys, levels, may_be_open=may_be_open)
    if not may_be_open and not access.has_valid_key:
        raise KeysNeeded(
            f"gateway.host = {settings.gateway.host!r} is not a loopback address, and there is"
            " no valid API key to keep others out; make one with `sluice keys create NAME`, or use"
            " one of 127.0.0.1, ::1, localhost"
        )
    return access


def read_keys_of(settings: Settings) -> tuple[ApiKey, ...]:
    """Return the keys of the settings' file; none where it is absent and not named by them.

    Raises:
        KeyFileError: the file is wrong, or the settings name one that is not there.
    """
    try:
        return read_keys(settings.keys_file)
    except FileNotFoundError as error:
        if settings.gateway.keys_file is not None:
            raise KeyFileError(
                f"gateway.keys_file names {str(settings.keys_file)!r}, which does not exist;"
                " `sluice keys create NAME` makes it"
            ) from error
        return ()

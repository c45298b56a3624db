"""Takes changed settings, keys and certificates over while the gateway runs."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from contracts.settings import Settings, SettingsError, config_file
from gateway.access.control import AccessControl
from gateway.access.key_file import KeyFileError
from gateway.access.opening import read_keys_of
from gateway.backends.router import BackendRouter
from gateway.ending import end_tasks
from gateway.tls import ServerTls, TlsError

LoadSettings = Callable[[], Settings]

_LOOK_SECONDS = 1.0
_APPLIED = {"backends", "gateway.keys_file", "gateway.tls_certificate", "gateway.tls_key"}

_log = structlog.get_logger("gateway.reload")

_Signature = tuple[tuple[int, int, int] | None, ...]


class Reloader:
    """Looks at the files every second, and takes over what is right.

    What is wrong is logged, and what was there before stays: all of it, file by file. Requests
    that run go on with what they began with.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        load_settings: LoadSettings | None,
        access: AccessControl,
        router: BackendRouter,
        tls: ServerTls | None,
    ) -> None:
        """
        Args:
            load_settings: reads them anew; None where they did not come from a file.
        """
        self._settings = settings
        self._load_settings = load_settings
        self._access = access
        self._router = router
        self._tls = tls
        self._task: asyncio.Task[None] | None = None
        # A change may be older than this: workers start with what their parent has read.
        self._seen: _Signature = ()

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="reloader")

    async def stop(self) -> None:
        if self._task is not None:
            await end_tasks([self._task])

    def reload(self) -> None:
        """Read the files and take over what is right, changed or not."""
        # Before they are read: a change meanwhile would otherwise never be seen.
        self._seen = self._look()
        self._reload_settings()
        self._reload_keys()
        self._reload_certificate()

    async def _watch(self) -> None:
        while True:
            try:
                if self._look() != self._seen:
                    self.reload()
            except Exception:  # noqa: BLE001 - logged; the next change must be noticed
                _log.exception("reloading failed unexpectedly")
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self) -> _Signature:
        gateway = self._settings.gateway
        files = [self._settings.keys_file, gateway.tls_certificate, gateway.tls_key]
        if self._load_settings is not None:
            files.append(config_file())
        return tuple(map(_signature_of, files))

    def _reload_settings(self) -> None:
        if self._load_settings is None:
            return
        try:
            settings = self._load_settings()
        except (SettingsError, OSError) as error:
            _log.error("the settings are wrong; the old ones stay", error=str(error))
            return
        old, self._settings = self._settings, settings
        if settings.backends != old.backends:
            self._router.replace(settings.backends)
            _log.info("backends reloaded", backends=[each.name for each in settings.backends])
        if others := _changed(old, settings) - _APPLIED:
            _log.warning("these settings count from the next start on", settings=sorted(others))

    def _reload_keys(self) -> None:
        try:
            keys = read_keys_of(self._settings)
        except KeyFileError as error:
            _log.error("the API keys are wrong; the old ones stay", error=str(error))
            return
        if not keys and not self._access.is_open:
            # Were it a slip, everybody would be let in.
            _log.error("there are no API keys any more; the old ones stay until the next start")
        elif keys != self._access.keys:
            self._access.replace_keys(keys)
            _log.info("API keys reloaded", keys=len(keys))

    def _reload_certificate(self) -> None:
        if self._tls is None:
            return
        try:
            self._tls.load(self._settings.gateway)
        except TlsError as error:
            _log.error("the certificate is wrong; the old one stays", error=str(error))


def _signature_of(file: Path | None) -> tuple[int, int, int] | None:
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _changed(old: Settings, new: Settings) -> set[str]:
    """Return the names of the settings that differ, as `section.name`."""
    changed = set()
    for section in type(new).model_fields:
        before, after = getattr(old, section), getattr(new, section)
        if before == after:
            continue
        fields: dict[str, Any] = getattr(type(after), "model_fields", {})
        if not fields:
            changed.add(section)
        changed.update(
            f"{section}.{name}" for name in fields if getattr(before, name) != getattr(after, name)
        )
    return changed

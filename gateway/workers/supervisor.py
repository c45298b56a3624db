"""Keeps the workers running: starts them, restarts those that die, stops all in order."""

import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

import structlog
import uuid_utils
from prometheus_client.multiprocess import mark_process_dead

from contracts.child_processes import end_with_parent
from contracts.settings import BackendSettings, Settings, load_settings
from gateway.access.opening import read_keys_of
from gateway.backends.slots import Slots
from gateway.server import gateway_server, relax_garbage_collection
from gateway.workers.shared_levels import SharedLevels
from gateway.workers.shared_places import SharedPlaces, SharedSlots
from gateway.workers.worker import Worker

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
_BACKLOG = 2048
_RESTARTS = 5
_RESTART_WINDOW_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 8.0
_STOP_MARGIN_SECONDS = 2.0
_FEWEST_LEVELS = 4096

_log = structlog.get_logger("gateway.workers")


@dataclass
class _Place:
    """A worker's number, where its connections come in, and the process that has both."""

    index: int
    listener: socket.socket
    pid: int | None = None
    due: float = 0.0
    """When a process is to be started, where there is none. Monotonic seconds."""
    started: list[float] = field(default_factory=list)


class WorkerSupervisor:
    """The parent of the workers. It serves nothing itself and has no threads.

    The workers are forked, so that they share the memory of the limits and the code; each has its
    own event loop, listening socket, connections and place in the spool.
    """

    def __init__(self, settings: Settings, listeners: Sequence[socket.socket]) -> None:
        """
        Args:
            listeners: bound to one address, one for each worker.
        """
        self._settings = settings
        self._places = [_Place(index, listener) for index, listener in enumerate(listeners)]
        self._levels = SharedLevels(max(_FEWEST_LEVELS, 4 * len(read_keys_of(settings))))
        self._backend_places = SharedPlaces(len(self._places))
        gateway = settings.gateway
        self._stop_seconds = (
            gateway.drain_seconds + gateway.shutdown_grace_seconds + _STOP_MARGIN_SECONDS
        )

    def run(self) -> bool:
        """Serve until SIGTERM or SIGINT; return whether the workers could not be kept running."""
        # They stay open here, so that connections wait while a worker is replaced.
        for place in self._places:
            place.listener.listen(_BACKLOG)
        relax_garbage_collection()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        has_failed = False
        while True:
            self._start_due()
            received = signal.sigtimedwait(_SIGNALS, self._seconds_until_due())
            number = None if received is None else received.si_signo
            if number in (signal.SIGTERM, signal.SIGINT):
                break
            if number == signal.SIGHUP:
                self._send(signal.SIGHUP)
            elif number == signal.SIGCHLD and not self._replace_dead():
                has_failed = True
                break
        self._stop()
        return has_failed

    def _start_due(self) -> None:
        now = monotonic()
        for place in self._places:
            if place.pid is None and place.due <= now:
                place.started.append(now)
                place.pid = os.fork()
                if place.pid == 0:
                    self._become_worker(place)

    def _seconds_until_due(self) -> float:
        due = [place.due for place in self._places if place.pid is None]
        return max(0.0, min(due) - monotonic()) if due else 3600.0

    def _become_worker(self, place: _Place) -> None:
        """In the child: serve, and never return."""
        code = 1
        try:
            end_with_parent()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            # Its generator would give every worker the same IDs.
            uuid_utils.reseed_rng()
            for other in self._places:
                if other is not place:
                    other.listener.close()
            worker = self._worker(place.index)
            server = gateway_server(self._settings, load_settings=load_settings, worker=worker)
            server.run(sockets=[place.listener])
            code = 0
        except KeyboardInterrupt:
            code = 0
        except BaseException:  # noqa: BLE001 - logged; nothing of the parent may run here
            _log.exception("worker failed", worker=place.index)
        finally:
            os._exit(code)

    def _worker(self, index: int) -> Worker:
        count = len(self._places)

        def make_slots(settings: BackendSettings) -> Slots:
            return SharedSlots(
                settings.max_concurrency,
                -(-settings.max_queued // count),
                backend=settings.name,
                worker=index,
                places=self._backend_places,
            )

        return Worker(index, count, self._levels, make_slots)

    def _replace_dead(self) -> bool:
        """Note which workers have ended; return False where one keeps ending."""
        now = monotonic()
        for place in self._reap():
            place.started = [at for at in place.started if now - at < _RESTART_WINDOW_SECONDS]
            if len(place.started) > _RESTARTS:
                _log.error("worker keeps ending; the gateway stops", worker=place.index)
                return False
            pause = min(2.0 ** (len(place.started) - 1), _LONGEST_PAUSE_SECONDS)
            # The first time at once: half the capacity may be gone.
            place.due = now if len(place.started) == 1 else now + pause
        return True

    def _reap(self) -> list[_Place]:
        """Return the places whose processes have ended."""
        ended = []
        for place in self._places:
            if place.pid is None:
                continue
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if pid == 0:
                continue
            _log.warning("worker ended", worker=place.index, code=os.waitstatus_to_exitcode(status))
            # Its counters stay in the sums; its gauges go.
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
            self._backend_places.give_back_all(place.index)
            place.pid = None
            ended.append(place)
        return ended

    def _stop(self) -> None:
        for place in self._places:
            place.listener.close()
        self._send(signal.SIGTERM)
        deadline = monotonic() + self._stop_seconds
        while any(place.pid is not None for place in self._places):
            left = deadline - monotonic()
            if left <= 0:
                _log.error("workers do not stop, so they are killed")
                self._send(signal.SIGKILL)
                left = self._stop_seconds
                deadline = monotonic() + left
            received = signal.sigtimedwait({signal.SIGCHLD, signal.SIGINT}, left)
            if received is not None and received.si_signo == signal.SIGINT:
                # Once more is an order to hurry, as it is for a single process.
                self._send(signal.SIGINT)
            self._reap()

    def _send(self, number: signal.Signals) -> None:
        for place in self._places:
            if place.pid is not None:
                os.kill(place.pid, number)

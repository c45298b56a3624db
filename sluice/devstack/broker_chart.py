"""What the NATS chart is told: a cluster of three, and who may do what on it."""

import yaml

from sluice.devstack.broker_configuration import authorization
from sluice.servers.nats import MAX_PAYLOAD_BYTES

_HEADER = """\
# For the NATS chart (nats/nats, 1.x). Written by `sluice devstack nats-values`: who may do what
# comes from the platform's contracts. Passwords are of the secret `sluice-passwords`.
"""
_IMAGE_TAG = "2.15.1-alpine"


def chart_values() -> str:
    """Return the NATS chart's values for a cluster of three, as YAML.

    The chart writes what stands between `<<` and `>>` without quotes: a reference to a variable.
    """
    users = [user | {"password": f"<< {user['password']} >>"} for user in authorization()["users"]]
    variables = [user["password"].strip("<$> ") for user in users]
    values = {
        "config": {
            "cluster": {"enabled": True, "replicas": 3},
            "jetstream": {
                "enabled": True,
                "fileStore": {"enabled": True, "pvc": {"size": "200Gi"}},
            },
            # The default sync of two minutes: what one node loses with its power, two others have.
            "merge": {
                "max_payload": MAX_PAYLOAD_BYTES,
                "authorization": {"users": users},
            },
        },
        "container": {
            "image": {"tag": _IMAGE_TAG},
            "env": {
                # Of the limit below; without it the runtime of Go does not know of one.
                "GOMEMLIMIT": "3GiB",
                **{
                    variable: {
                        "valueFrom": {"secretKeyRef": {"name": "sluice-passwords", "key": variable}}
                    }
                    for variable in variables
                },
            },
            "merge": {
                "resources": {
                    "requests": {"cpu": "1", "memory": "2Gi"},
                    "limits": {"memory": "4Gi"},
                }
            },
        },
        "podTemplate": {
            "topologySpreadConstraints": {
                "kubernetes.io/hostname": {"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
            }
        },
        "podDisruptionBudget": {"enabled": True},
        "natsBox": {"enabled": False},
    }
    return _HEADER + yaml.safe_dump(values, sort_keys=False, width=100)

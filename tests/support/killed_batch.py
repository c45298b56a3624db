"""A batch whose process is killed at a step: `python killed_batch.py STEP DATABASE_URL WAREHOUSE`.

The step is a function of the module `assets.lake.batch`, and whether it dies `before` or `after`.
"""

import os
import signal
import sys
from typing import Any

from assets.lake import batch
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.lake_audit import TOOL_CALLS
from tests.support.lake_rows import DAY


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(step: str, database_url: str, warehouse: str) -> None:
    """Move the day of the tests' tool calls, as far as `step`."""
    when, name = step.split(" ")
    function = getattr(batch, name)

    def killed(*arguments: Any, **keywords: Any) -> Any:
        if when == "before":
            _kill()
        result = function(*arguments, **keywords)
        _kill()
        return result

    setattr(batch, name, killed)
    batch.move_day(
        TOOL_CALLS,
        DAY,
        postgres=PostgresResource(url=database_url),
        lake=LakeResource(database_url=database_url, warehouse=warehouse),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

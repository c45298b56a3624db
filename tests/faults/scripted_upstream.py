"""The scripted model server on a host: `python -m tests.faults.scripted_upstream PORT`.

It is a test double: its answer is a function of the request, so that a test knows each beforehand.
"""

import signal
import sys

from tests.support.scripted_model_server import scripted_model_server

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with scripted_model_server(port=int(sys.argv[1])):
        signal.sigwait({signal.SIGINT, signal.SIGTERM})

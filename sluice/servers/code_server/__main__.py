"""`python -m sluice.servers.code_server`.

A module of its own and by this name: of a process that runs another module `multiprocessing`
executes that module again in each fork, with its imports, before a run may begin.
"""

from sluice.servers.code_server.warm_server import main

main()

"""What is raised where PostgreSQL, the catalog or the storage of the files is away."""

import adbc_driver_manager
from pyiceberg.exceptions import RESTError
from sqlalchemy.exc import DBAPIError

from resources.nessie import NessieError

SERVER_ERRORS = (
    DBAPIError,
    adbc_driver_manager.Error,
    NessieError,
    # An answer of a REST catalog that is none, such as that of a proxy before it.
    RESTError,
    # Of files on disk and on S3, and of HTTP: `requests` derives its own from it.
    OSError,
)

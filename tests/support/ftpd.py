"""An FTP server on loopback, from the package pyftpdlib, which serves a folder to anybody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Served", "files_over_ftp"]


@dataclass(frozen=True)
class Served:
    """Where files are served."""

    root: Path
    url: str


@contextmanager
def files_over_ftp(root: Path) -> Iterator[Served]:
    """Serve a folder for the time of a `with`."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    class Handler(FTPHandler):
        authorizer = DummyAuthorizer()

    Handler.authorizer.add_anonymous(str(root))
    server = ThreadedFTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"handle_exit": False})
    thread.start()
    try:
        yield Served(root, f"ftp://127.0.0.1:{server.address[1]}")
    finally:
        server.close_all()
        thread.join()

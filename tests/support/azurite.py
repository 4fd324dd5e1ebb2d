"""Azurite, Microsoft's emulator of Azure Blob Storage, on loopback; from npm, where node is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Azurite", "azurite_script"]

# The account that the emulator documents, and its key: no secret.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
SCRIPT = Path("node_modules/azurite/dist/src/blob/main.js")
START_S = 60.0


def azurite_script() -> Path | None:
    """Find Azurite below GRIDMILL_AZURITE, the working folder, or among npm's global packages."""
    if shutil.which("node") is None:
        return None
    given = os.environ.get("GRIDMILL_AZURITE")
    roots = [Path(given)] if given else [Path.cwd(), Path("/usr/local/lib"), Path("/usr/lib")]
    found = (root / SCRIPT for root in roots)
    return next((path for path in found if path.is_file()), None)


class Azurite:
    """The emulator for the time of a `with`, with one container."""

    container = "container"
    account_key = KEY

    def __enter__(self) -> Self:
        script = azurite_script()
        assert script is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        place = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        options = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck"]
        self._process = subprocess.Popen(
            ["node", str(script), *place, *options, "--disableTelemetry"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._make_container()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(10)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage_options(self) -> dict[str, Any]:
        """Options by which it is reached, as of adlfs."""
        text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        return {"connection_string": f"{text}BlobEndpoint={self.url}/{ACCOUNT};"}

    def options_through(self, url: str) -> dict[str, Any]:
        """Options by which it is reached through something else."""
        return {"account_name": ACCOUNT, "account_key": KEY, "endpoint": f"{url}/{ACCOUNT}"}

    def _make_container(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with suppress(OSError):
                urllib.request.urlopen(self._request(), timeout=5).close()
                return
            if time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError(f"Azurite does not answer within {START_S} s")
            time.sleep(0.2)

    def _request(self) -> urllib.request.Request:
        """Sign what makes the container, by Azure's scheme of a shared key."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        signed = "".join(f"{name}:{value}\n" for name, value in headers.items())
        place = f"/{ACCOUNT}/{ACCOUNT}/{self.container}\nrestype:container"
        text = f"PUT{chr(10) * 12}{signed}{place}".encode()
        digest = hmac.new(base64.b64decode(KEY), text, hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        headers["Content-Length"] = "0"
        url = f"{self.url}/{ACCOUNT}/{self.container}?restype=container"
        return urllib.request.Request(url, method="PUT", headers=headers)

"""Azurite, Microsoft's emulator of Azure's blobs, on loopback: npm install azurite."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["azure_blobs", "azure_missing"]

READY_TIMEOUT_S = 60.0
# The account that every copy of the emulator has; its documentation prints the key.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def azure_missing() -> str:
    """Say why there are no blobs; empty where there are."""
    if find_spec("adlfs") is None:
        return "adlfs is not installed: pip install adlfs"
    if _binary() is None:
        return "azurite-blob is not on PATH or in GRIDMILL_AZURITE: npm install -g azurite"
    return ""


@contextmanager
def azure_blobs(container: str) -> Iterator[dict[str, Any]]:
    """Give adlfs's options for an account with an empty container."""
    with tempfile.TemporaryDirectory(prefix="gridmill-azurite-") as folder:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
        command = [str(_binary()), "--silent", "--inMemoryPersistence", "--skipApiVersionCheck"]
        command += ["--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
        try:
            _wait_until_ready(port, process, log)
            url = f"http://127.0.0.1:{port}/{ACCOUNT}"
            parts = {"AccountName": ACCOUNT, "AccountKey": KEY, "BlobEndpoint": url}
            text = ";".join(
                f"{k}={v}" for k, v in {"DefaultEndpointsProtocol": "http", **parts}.items()
            )
            _make_container(text, container)
            yield {"connection_string": text}
        finally:
            process.kill()
            process.wait()


def _binary() -> str | None:
    return os.environ.get("GRIDMILL_AZURITE") or shutil.which("azurite-blob")


def _make_container(connection_string: str, name: str) -> None:
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(connection_string) as service:
        service.create_container(name)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while True:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"Azurite is not ready: {log.read_text(errors='replace')[-1000:]}")
        time.sleep(0.05)

"""A server of files over SSH on loopback, from the package openssh-server, with keys of its own."""

from __future__ import annotations

import getpass
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

__all__ = ["Served", "files_over_ssh", "sshd_missing"]

READY_TIMEOUT_S = 30.0
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile {folder}/pid
AuthorizedKeysFile {folder}/key.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""


class Served:
    """Where files are served, and how one gets in."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.address = f"sftp://{getpass.getuser()}@127.0.0.1:{port}{folder}"
        self.storage_options: dict[str, Any] = {
            "key_filename": str(folder.parent / "key"),
            "look_for_keys": False,
            "allow_agent": False,
        }


def sshd_missing() -> str:
    """Say why there is no server; empty where there is one."""
    if find_spec("paramiko") is None:
        return "paramiko is not installed: pip install 'gridmill[sftp]'"
    if _sshd() is None or shutil.which("ssh-keygen") is None:
        return "sshd is not installed: apt-get install openssh-server"
    return ""


@contextmanager
def files_over_ssh() -> Iterator[Served]:
    """Serve an empty folder."""
    with tempfile.TemporaryDirectory(prefix="gridmill-sshd-") as name:
        folder = Path(name)
        for key in ("host", "key"):
            made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(made, check=True, capture_output=True)
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
        (folder / "config").write_text(CONFIG.format(folder=folder, port=port))
        (folder / "files").mkdir()
        if os.geteuid() == 0:
            # Where nothing has started the system's own, nothing made the folder that it demands.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = folder / "log"
        command = [str(_sshd()), "-D", "-e", "-f", str(folder / "config")]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            _wait_until_ready(port, process, log)
            yield Served(folder / "files", port)
        finally:
            process.terminate()
            process.wait()


def _sshd() -> str | None:
    # It starts itself again by its whole path.
    return shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while True:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"sshd is not ready: {log.read_text(errors='replace')[-1000:]}")
        time.sleep(0.05)

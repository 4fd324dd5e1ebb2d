"""Nodes with networks and disks of their own: `dask scheduler` and `dask worker` that speak TLS.

Each node is a network namespace on one bridge, which is in a namespace, too: nothing of it is seen
by the machine's own network. What a node mounts no other one sees. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from distributed.security import Security

import gridmill

SUPPORT = Path(__file__).parent
HUB = "10.177.0.1"
READY_TIMEOUT_S = 60.0


def why_not() -> str:
    """Say why there can be no namespaces here; empty if there can."""
    if shutil.which("ip") is None:
        return "there is no ip: apt-get install iproute2"
    name = f"gridmill-try-{os.getpid()}"
    tried = _ip("netns", "add", name, check=False)
    if tried.returncode:
        return f"namespaces are not permitted: {tried.stderr.strip()}"
    mounted = _in(name, "mount", "-t", "tmpfs", "own", "/mnt", check=False)
    _ip("netns", "delete", name)
    return f"mounts are not permitted: {mounted.stderr.strip()}" * bool(mounted.returncode)


class Network:
    """A scheduler, and workers on nodes of their own; a context manager.

    Parameters
    ----------
    folder
        Certificates and logs are kept there.
    settings
        Of Dask, for all of them, as environment variables.
    """

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self.name = f"gm{os.getpid() % 10_000}"
        self.processes: list[subprocess.Popen[bytes]] = []
        source = str(Path(gridmill.__file__).parents[1])
        self.environment = {
            **os.environ,
            **_certificates(folder),
            **settings,
            "PYTHONPATH": os.pathsep.join([source, str(SUPPORT)]),
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._add(0, HUB)
            self.start(
                0, ["-m", "dask", "scheduler", "--host", HUB, "--port", "8786", "--no-dashboard"]
            )
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc_info: Any) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self._stack.close()

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return f"tls://{HUB}:8786"

    def join(self, nthreads: int = 5) -> int:
        """Start one more node; gives its number."""
        number = len(self.processes)
        address = f"10.177.0.{number + 1}"
        self._add(number, address)
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        # The same path on every node, and on each a disk of its own.
        arguments = ["-m", "dask", "worker", self.address, "--host", address, "--no-nanny"]
        arguments += ["--nthreads", str(nthreads), "--local-directory", str(scratch)]
        self.start(number, [*arguments, "--no-dashboard"], disk=scratch)
        return number

    def start(self, number: int, arguments: list[str], disk: Path | None = None) -> None:
        """Start Python on a node, with a disk of its own at a path."""
        mount = f"mount -t tmpfs own {disk} && " if disk else ""
        command = [*self._at(number), "sh", "-c", f'{mount}exec "$@"', "sh", sys.executable]
        with (self.folder / f"node-{number}.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [*command, *arguments],
                    env=self.environment,
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                )
            )

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Python beside the scheduler, for what it says."""
        command = [*self._at(0), sys.executable, *arguments]
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def cut_off(self, number: int, seconds: float) -> None:
        """Let nothing through to a node or from it, for so long."""
        link = f"{self.name}l{number}"
        _in(self._namespace(0), "ip", "link", "set", link, "down")
        time.sleep(seconds)
        _in(self._namespace(0), "ip", "link", "set", link, "up")

    def _namespace(self, number: int) -> str:
        return f"{self.name}-{number}"

    def _at(self, number: int) -> list[str]:
        return ["ip", "netns", "exec", self._namespace(number)]

    def _add(self, number: int, address: str) -> None:
        """Add a node to the bridge, which the first one has."""
        namespace, bridge = self._namespace(number), f"{self.name}b"
        _ip("netns", "add", namespace)
        self._stack.callback(_ip, "netns", "delete", namespace, check=False)
        _in(namespace, "ip", "link", "set", "lo", "up")
        if number == 0:
            _in(namespace, "ip", "link", "add", bridge, "type", "bridge")
            _in(namespace, "ip", "addr", "add", f"{address}/24", "dev", bridge)
            _in(namespace, "ip", "link", "set", bridge, "up")
            return
        hub, link = self._namespace(0), f"{self.name}l{number}"
        peer = ("peer", "name", "eth0", "netns", namespace)
        _in(hub, "ip", "link", "add", link, "type", "veth", *peer)
        _in(hub, "ip", "link", "set", link, "master", bridge, "up")
        _in(namespace, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        _in(namespace, "ip", "link", "set", "eth0", "up")


def _certificates(folder: Path) -> dict[str, str]:
    """Write certificates, and give Dask's settings that name them."""
    made = Security.temporary()
    settings = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    texts = {"CA_FILE": made.tls_ca_file}
    for role in ("client", "scheduler", "worker"):
        for part in ("cert", "key"):
            texts[f"{role}__{part}".upper()] = getattr(made, f"tls_{role}_{part}")
    for name, text in texts.items():
        path = folder / f"{name}.pem"
        path.write_text(text)
        path.chmod(0o600)
        settings[f"{prefix}{name}"] = str(path)
    return settings


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


def _in(namespace: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return _ip("netns", "exec", namespace, *command, check=check)

"""Ceph's S3 gateway on loopback: a monitor, an OSD in memory and radosgw, of Debian."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

__all__ = ["CephRgw", "ceph_missing"]

START_S = 120.0
NEEDED = ("ceph-mon", "ceph-osd", "ceph-authtool", "monmaptool", "radosgw", "radosgw-admin", "ceph")
# One copy of everything, in memory; what a disk that is nearly full or slow would warn of is off.
CONFIG = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
public network = 127.0.0.0/8
ms bind ipv6 = false
ms bind msgr1 = false
keyring = {home}/keyring
auth allow insecure global id reclaim = false
mon allow pool size one = true
mon data avail crit = 1
paxos propose interval = 0.05
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 1073741824
mon data = {home}/mon
osd data = {home}/osd
run dir = {home}
crash dir = {home}
admin socket = {home}/$name.asok
log file = {home}/$name.log
mon cluster log file = {home}/cluster.log
log to stderr = false
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{s3}
"""


def ceph_missing() -> str:
    """Say why there is no Ceph; empty where there is one."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install ceph-mon ceph-osd radosgw"
    return ""


class CephRgw:
    """A cluster of one for the time of a `with`, with one bucket.

    Raises
    ------
    RuntimeError
        It is not ready in time; its last words are in the message.
    """

    bucket = "archive"

    def __enter__(self) -> Self:
        # Below /tmp: the path of a socket is at most 107 bytes long.
        self._home = Path(tempfile.mkdtemp(prefix="gm-ceph-", dir="/tmp"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._key, self._secret = secrets.token_hex(10), secrets.token_hex(20)
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    @property
    def storage_options(self) -> dict[str, Any]:
        """Options by which it is reached, as of s3fs."""
        return {
            "key": self._key,
            "secret": self._secret,
            "endpoint_url": self.endpoint_url,
            "client_kwargs": {"region_name": "us-east-1"},
        }

    def _start(self) -> None:
        home, mon = self._home, _free_port()
        port = _free_port()
        self.endpoint_url = f"http://127.0.0.1:{port}"
        fsid = str(uuid.uuid4())
        config = CONFIG.format(fsid=fsid, home=home, mon=mon, s3=port)
        (home / "ceph.conf").write_text(config)
        (home / "osd").mkdir()
        self._make_keys()
        map_ = str(home / "monmap")
        addr = f"[v2:127.0.0.1:{mon}]"
        _call("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", addr, map_)
        _call("ceph-mon", "--mkfs", "-i", "a", *self._conf, "--monmap", map_)
        self._run("ceph-mon", "-i", "a")
        osd = str(uuid.uuid4())
        self._ask("osd", "new", osd)
        _call("ceph-osd", "-i", "0", *self._conf, "--mkfs", "--osd-uuid", osd)
        self._run("ceph-osd", "-i", "0")
        self._wait(lambda: "1 up" in self._ask("osd", "stat"))
        self._run("radosgw", "-n", "client.rgw")
        keys = ("--access-key", self._key, "--secret", self._secret)
        names = ("--uid", "test", "--display-name", "test")
        _call("radosgw-admin", *self._conf, "user", "create", *names, *keys)
        self._wait(self._makes_the_bucket)

    @property
    def _conf(self) -> tuple[str, str]:
        return ("-c", str(self._home / "ceph.conf"))

    def _make_keys(self) -> None:
        ring = str(self._home / "keyring")
        everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
        _call("ceph-authtool", "-C", ring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name in ("client.admin", "client.rgw"):
            _call("ceph-authtool", ring, "--gen-key", "-n", name, *everything)
        caps = ("--cap", "mon", "allow profile osd", "--cap", "osd", "allow *")
        _call("ceph-authtool", ring, "--gen-key", "-n", "osd.0", *caps)

    def _run(self, *command: str) -> None:
        with (self._home / f"{command[0]}.out").open("wb") as out:
            process = subprocess.Popen(
                [*command, "-f", *self._conf], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self._processes.append(process)

    def _ask(self, *command: str) -> str:
        return _call("ceph", "--connect-timeout", "60", *self._conf, *command)

    def _wait(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + START_S
        while not ready():
            if time.monotonic() > end or any(p.poll() is not None for p in self._processes):
                said = [
                    path.read_text(errors="replace")[-500:] for path in self._home.glob("*.out")
                ]
                raise RuntimeError(f"Ceph is not ready: {' '.join(said)}")
            time.sleep(0.1)

    def _makes_the_bucket(self) -> bool:
        client = botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self._key,
            aws_secret_access_key=self._secret,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )
        try:
            client.create_bucket(Bucket=self.bucket)
        except (BotoCoreError, ClientError):
            return False
        return True


def _call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_S)
    if done.returncode:
        raise RuntimeError(f"{command[0]} {command[1]} failed: {done.stderr[-500:]}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])

"""A real Slurm of one node on loopback; needs root and the packages slurm-wlm and munge."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
READY_TIMEOUT_S = 60.0

CONFIG = """\
ClusterName=gridmill
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ctld}
SlurmdPort={d}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=3600
MpiDefault=none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SchedulerParameters=batch_sched_delay=0,sched_interval=2
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Say why no Slurm can be started here; empty if one can."""
    missing = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    if missing:
        return f"{', '.join(missing)} are not installed: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd runs as root"


@contextmanager
def slurm() -> Iterator[Path]:
    """Start munged, slurmctld and slurmd; commands find them by SLURM_CONF. Gives their folder."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gridmill-slurm-")))
        ctld, d = _free_ports(2)
        host = socket.gethostname().partition(".")[0]
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "slurm.conf").write_text(CONFIG.format(folder=folder, host=host, ctld=ctld, d=d))
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        # munged wants a folder of its own that nobody else writes to.
        folder.chmod(0o755)
        before = os.environ.get("SLURM_CONF"), os.environ["PATH"]
        os.environ.update(SLURM_CONF=str(folder / "slurm.conf"), PATH=_path())
        stack.callback(_restore, *before)
        munge = [
            *("munged", "--foreground", f"--socket={folder}/munge.socket", f"--key-file={key}"),
            *(f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log"),
            *(f"--seed-file={folder}/munged.seed", "--num-threads=2", "--force"),
        ]
        for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", "node"]):
            stack.enter_context(_process(command, folder / f"{command[0]}.out"))
        _wait_until_idle(folder)
        stack.callback(subprocess.run, ["scancel", "--user=root"], check=False)
        yield folder


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_idle(folder: Path) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while True:
        told = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=False
        )
        if told.stdout.strip() == "idle":
            return
        if time.monotonic() > end:
            logs = [path.read_text(errors="replace")[-1000:] for path in folder.glob("*.out")]
            raise RuntimeError(f"Slurm is not ready: {told.stdout} {told.stderr} {logs}")
        time.sleep(0.2)


def _restore(config: str | None, path: str) -> None:
    os.environ["PATH"] = path
    if config is None:
        del os.environ["SLURM_CONF"]
    else:
        os.environ["SLURM_CONF"] = config


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]

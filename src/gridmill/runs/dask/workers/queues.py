"""Why no worker runs: what a cluster object, and the queue that starts its jobs, can tell."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

__all__ = ["unknown_jobs", "why_none_runs"]

ASK_TIMEOUT_S = 10.0


def why_none_runs(cluster: Any) -> str:
    """Say why a cluster has no worker, as far as it can be known.

    Parameters
    ----------
    cluster
        A `distributed.deploy.Cluster`, or None for a scheduler that somebody else started.
    """
    if cluster is None:
        return "none has connected to the scheduler; see the logs of the workers' jobs"
    name = type(cluster).__name__
    specs = getattr(cluster, "worker_spec", None)
    if specs is None:
        return f"{name} has started none that reached the scheduler; see the logs of its workers"
    if not specs:
        return f"{name} was asked for none: give --workers N, or --adapt MIN:MAX"
    jobs = [str(job.job_id) for job in cluster.workers.values() if getattr(job, "job_id", None)]
    states = _states(jobs)
    asked = f"{name} has asked for {len(specs)}"
    refused = {job.refused for job in cluster.workers.values() if getattr(job, "refused", "")}
    if refused:
        states += [f"the queue refuses jobs: {reason}" for reason in sorted(refused)]
    if states:
        return f"{asked}: {', '.join(states)}"
    if jobs:
        return f"{asked} (jobs {', '.join(jobs)}); see what the queue and the jobs' logs say"
    return f"{asked}, and none has connected; see the logs of its workers"


def unknown_jobs(jobs: list[str]) -> set[str]:
    """Return those of the jobs that Slurm does not know any more; none where there is no Slurm."""
    if not jobs:
        return set()
    told = _squeue("--me", "--format=%i")
    return set() if told is None else set(jobs) - set(told)


def _states(jobs: list[str]) -> list[str]:
    """Ask Slurm for jobs' states with their reasons; nothing where there is no Slurm."""
    if not jobs:
        return []
    return _squeue(f"--jobs={','.join(jobs)}", "--format=job %i is %T (%r)") or []


def _squeue(*options: str) -> list[str] | None:
    squeue = shutil.which("squeue")
    if squeue is None:
        return None
    command = [squeue, "--noheader", *options]
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return [line.strip() for line in told.stdout.splitlines() if line.strip()]

"""What is shown for Kubernetes: an image without fault, a job that means its codes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gridmill.cli import ExitCode
from repository import ROOT

CRON_JOB = ROOT / "deploy/kubernetes/cronjob.yaml"


def test_the_container_file_has_no_fault():
    """hadolint knows what goes wrong with images: not a word from it."""
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.defpath}")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install 'gridmill[check]'")
    linted = [hadolint, "--no-color", str(ROOT / "deploy/kubernetes/Dockerfile")]
    done = subprocess.run(linted, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_kubernetes_knows_the_cron_job():
    """Every field is one of its schemas, in strict form, of the newest version that is known."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    manifest = yaml.safe_load(CRON_JOB.read_text())
    newest = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, newest, strict=True)
    manifest["spec"]["jobTemplate"]["spec"]["podFailurePolicies"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, newest, strict=True)


@pytest.mark.parametrize(("code", "ends_with"), [(0, 0), (3, 0), (4, 0), (1, 1), (8, 8), (2, 2)])
def test_a_cron_job_succeeds_where_nothing_is_wrong(code, ends_with, tmp_path):
    """Its command turns what a scheduler is content with into success, and nothing else."""
    job = yaml.safe_load(CRON_JOB.read_text())["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    gridmill = tmp_path / "gridmill"
    gridmill.write_text(f"#!/bin/sh\nexit {code}\n")
    gridmill.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert subprocess.run(container["command"], env=path, check=False).returncode == ends_with
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [ExitCode.WRONG_INPUT, ExitCode.GAPS]

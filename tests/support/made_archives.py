"""Archives in a provider's layout, built out of real fields by the scripts beside the data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def make_archive(shared_data: Path, root: Path, script: str, *arguments: str) -> Path:
    """Run a script of `S1_gfs_kit` and return `root`, with the archive and its `truth.jsonl`."""
    path = shared_data / "S1_gfs_kit" / script
    command = [sys.executable, str(path), str(root), *arguments]
    subprocess.run(command, check=True, capture_output=True)
    return root

"""A writer that is killed leaves whole objects only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from gridmill.stores.objects.local import LocalObjects


def test_a_killed_writer_leaves_nothing_among_the_objects(tmp_path):
    """SIGKILL in the middle of puts leaves whole objects only."""
    script = (
        "import sys; from pathlib import Path\n"
        "from gridmill.stores.objects.local import LocalObjects\n"
        "o = LocalObjects(Path(sys.argv[1]), Path(sys.argv[2])); n = 0; print('on', flush=True)\n"
        "while True:\n    n += 1; o.put(f'a/{n % 7}', bytes(2_000_000))\n"
    )
    roots = [str(tmp_path / "root"), str(tmp_path / "staging")]
    process = subprocess.Popen([sys.executable, "-c", script, *roots], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"on\n"
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    objects = LocalObjects(tmp_path / "root", tmp_path / "staging")
    keys = list(objects.keys())
    assert keys
    assert {objects.nbytes(key) for key in keys} == {2_000_000}

"""ecCodes' C library prints nothing, in no process: not in this one and not in a worker's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from decoded_messages import VALUES
from grib_messages import encode

READ = """
import sys
from pathlib import Path
from gridmill.sources.grib.framing import GribCorrupt
from gridmill.sources.grib.keys import loaded, text
for _ in range(3):
    try:
        with loaded(Path(sys.argv[1]).read_bytes()) as handle:
            text(handle, "shortName")
    except GribCorrupt:
        pass
"""


@pytest.mark.parametrize("asked", [False, True])
def test_what_eccodes_prints_floods_no_terminal(tmp_path, asked):
    """It writes past sys.stderr of a damaged file; unless its own variables ask it to."""
    (tmp_path / "cut.grib2").write_bytes(encode(VALUES)[:60])
    argv = [sys.executable, "-c", READ, str(tmp_path / "cut.grib2")]
    env = {**os.environ, **({"ECCODES_LOG_STREAM": "stderr"} if asked else {})}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=env)
    assert ("ECCODES ERROR" in done.stderr) == asked
    assert asked or done.stderr == ""

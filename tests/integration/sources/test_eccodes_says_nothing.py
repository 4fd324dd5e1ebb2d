"""ecCodes' C library prints nothing, in no process: not in this one and not in a worker's."""

from __future__ import annotations

import subprocess
import sys

from decoded_messages import VALUES
from grib_messages import encode

SAYS_NOTHING = """
import sys
from pathlib import Path
from gridmill.sources.grib.framing import GribCorrupt
from gridmill.sources.grib.keys import loaded
for _ in range(3):
    try:
        with loaded(Path(sys.argv[1]).read_bytes()):
            pass
    except GribCorrupt as error:
        print(error)
"""


def test_what_eccodes_prints_floods_no_terminal(tmp_path):
    """Its C library writes past sys.stderr; the error says what is wrong once."""
    (tmp_path / "cut.grib2").write_bytes(encode(VALUES)[:60])
    argv = [sys.executable, "-c", SAYS_NOTHING, str(tmp_path / "cut.grib2")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.count("ecCodes cannot read the message") == 3
    assert done.stderr == ""

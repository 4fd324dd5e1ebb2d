"""Statistics of archives that are larger than memory."""

from __future__ import annotations

import subprocess
import sys

from gridmill.validation.statistics import profiles as statistics

SCAN_OF_GIGABYTES = """
import resource, sys
import numpy as np
from gridmill.validation.statistics.profiles import scan
from gridmill.model.variables import DataVar, Encoding

class Endless:
    def read(self, variable, selection):
        return np.full([at.stop - at.start for at in selection], 1.5, 'float32')

n = int(sys.argv[1])
encoding = Encoding(chunks=(8, 181, 360), shards=(64, 724, 1440))
attrs = {'units': '1', 'long_name': 'v'}
var = DataVar(name='v', dims=('time', 'y', 'x'), encoding=encoding, attrs=attrs)
sizes = {'time': n, 'y': 721, 'x': 1440}
found = scan(Endless(), var, sizes, over=('y', 'x'), append_dim='time', positions=slice(0, n))
assert int(found.fields['valid'].sum()) == n * 721 * 1440
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_does_not_grow_with_the_archive():
    """Four times the archive, and no more memory than a few blocks."""

    def peak(positions: int) -> int:
        command = [sys.executable, "-c", SCAN_OF_GIGABYTES, str(positions)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return int(done.stdout)

    small, large = peak(64), peak(256)  # 0.3 and 1.1 GB of values
    assert large < small + 2 * statistics.BLOCK_NBYTES

"""Without the extra for netCDF the error names it."""

from __future__ import annotations

import subprocess
import sys


def test_without_netcdf4_the_extra_is_named(tmp_path):
    """The module imports without netCDF4; reading then names the extra to install."""
    script = (
        "import sys, pathlib\n"
        "sys.modules['netCDF4'] = None\n"
        "from gridmill.sources.netcdf import read_netcdf\n"
        "try: read_netcdf(pathlib.Path('a.nc'), 'a')\n"
        "except ImportError as e: print(e)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert b"gridmill[netcdf]" in result.stdout

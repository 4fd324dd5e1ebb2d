"""The command line: parse, call, print.

Exit codes:

====  ==============================================================================
0     success
1     something failed: a source file, a variable, a region, or the cluster was lost
2     wrong usage or input: nothing was written
3     nothing new: the run went well, and there was nothing to publish
4     another run holds the archive
5     the store cannot be written
6     late: a deadline passed, or the archive is behind what is expected
7     a record beside the store is damaged, of a later gridmill, or gone
8     published with new gaps, or gaps stand open
9     no worker came for longer than ``--worker-timeout``
130   interrupted; recorded work is safe
====  ==============================================================================

Only click is imported here: ``--help`` and shell completion must not wait for Dask and xarray.
Environment variables are read here and nowhere deeper.
"""

from __future__ import annotations

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.group import cli, main

__all__ = ["ExitCode", "cli", "main"]

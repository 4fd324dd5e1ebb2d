"""Whether metadata keep the CF conventions, and ACDD, by IOOS' compliance checker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import xarray as xr

from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.structure import keeps_acdd
from gridmill.validation.context import Context
from gridmill.validation.findings import CheckResult, Finding, Severity

__all__ = ["CfConventions"]

# The checker takes time with the square of the variables.
VARIABLES_AT_ONCE = 8
# Along every dim: enough to see that a coordinate is monotonic.
POSITIONS = 3
PRIORITIES: tuple[tuple[str, Severity], ...] = (
    ("high_priorities", "error"),
    ("medium_priorities", "warning"),
)
ACDD = "acdd:1.3"


@dataclass(frozen=True, kw_only=True)
class CfConventions:
    """The archive's metadata keep the CF conventions, and ACDD where they say so.

    What ACDD highly recommends and is not so is a warning; but for standard names, which variables
    lack for which CF's table has none.

    Parameters
    ----------
    recommendations
        Whether what they recommend and is not so is a warning. What they require and is not so is
        an error.
    version
        Of the conventions; None takes what the archive says it keeps.
    """

    recommendations: bool = False
    version: str | None = None
    name: str = "cf conventions"

    def check(self, context: Context) -> CheckResult:
        """Let the checker look at the first positions of the archive, as netCDF.

        Raises
        ------
        ValueError
            The checker is not installed.
        """
        command = find_checker()
        ds = _beginning(context)
        said = re.search(r"CF-([\d.]+)", str(ds.attrs.get("Conventions", "")))
        version = self.version or (said[1] if said else "1.11")
        with temporary_folder() as folder:
            suites = [f"cf:{version}", *([ACDD] if keeps_acdd(ds.attrs) else [])]
            found = dict.fromkeys(_found(ds, command, suites, folder))
        repair = context.command("migrate-metadata")
        findings = [
            Finding(message=message, severity=severity, repair=repair)
            for severity, message in found
            if severity == "error" or self.recommendations or message.startswith("ACDD")
        ]
        and_acdd = " and ACDD-1.3" if ACDD in suites else ""
        examined = f"against CF-{version}{and_acdd}"
        return CheckResult(validator=self.name, findings=tuple(findings), examined=examined)


def find_checker() -> str:
    """Return the path of the checker's command.

    Raises
    ------
    ValueError
        It is not installed.
    """
    beside = str(Path(sys.executable).parent)
    found = which("compliance-checker", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        raise ValueError("compliance-checker is not installed: pip install 'gridmill[validate]'")
    return found


def _beginning(context: Context) -> xr.Dataset:
    """Return a few positions along every dim, undecoded, with values that stand for all."""
    ds = context.ds.isel({dim: slice(0, POSITIONS) for dim in context.ds.dims})
    empty = {n: v.copy(data=np.zeros(v.shape, v.dtype)) for n, v in ds.data_vars.items()}
    for variable in ds.variables.values():
        kept = {"units", "calendar", "dtype"} & set(variable.encoding)
        variable.encoding = {key: variable.encoding[key] for key in kept}
    return ds.assign(empty)


def _found(
    ds: xr.Dataset, command: str, suites: Sequence[str], folder: Path
) -> Iterator[tuple[Severity, str]]:
    """Yield what the checker says, of some variables at a time with all that describes them."""
    names = list(map(str, ds))
    for first in range(0, len(names), VARIABLES_AT_ONCE):
        part = names[first : first + VARIABLES_AT_ONCE]
        others = [name for name in names if name not in part]
        path = folder / f"part-{first}.nc"
        fill = {name: {"_FillValue": None} for name in ds.variables if name not in others}
        ds.drop_vars(others).to_netcdf(path, engine="netcdf4", encoding=fill)
        yield from _said_of(path, command, suites)


def _said_of(path: Path, command: str, suites: Sequence[str]) -> Iterator[tuple[Severity, str]]:
    """Run the checker in a process of its own: it brings C libraries that others bring, too."""
    report = path.with_suffix(".json")
    options = [*(f"--test={suite}" for suite in suites), "--format=json_new"]
    options.append(f"--output={report}")
    done = subprocess.run(
        [command, *options, str(path)], check=False, capture_output=True, text=True
    )
    if not report.exists():  # its exit code only says whether it found anything
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise RuntimeError(f"compliance-checker failed: {last}")
    for checks in json.loads(report.read_text()).values():
        yield from _said_of_cf(checks[suites[0]])
        for group in checks.get(ACDD, {}).get("high_priorities", ()):
            lacking = [name for name in group["msgs"] if name != "standard_name"]
            yield from (("warning", f"ACDD-1.3: {group['name']} {name}") for name in lacking)


def _said_of_cf(groups: Mapping[str, Any]) -> Iterator[tuple[Severity, str]]:
    for priority, severity in PRIORITIES:
        for group in groups[priority]:
            yield from ((severity, message) for message in group["msgs"])

"""The demonstration: `gridmill demo` and ``make demo`` call `run`.

It needs the extra ``gridmill[demo]`` and no network: a provider's files are served on loopback.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from gridmill.demo.tour import Tour

__all__ = ["run"]

OUTPUT = Path("demo-output")
MARKER = ".made-by-gridmill-demo"
INSTALL = "run: pip install 'gridmill[demo]'"
NEEDED = {"matplotlib": "matplotlib", "iris_sample_data": "iris-sample-data", "netCDF4": "netCDF4"}


def run(output: Path | None = None, *, s3: bool = False) -> int:
    """Build an archive, keep it current while it is read, check it and draw it.

    Parameters
    ----------
    output
        Folder for stores, picture and summary; None means ``demo-output``. What an earlier demo
        left there is deleted.
    s3
        Whether the archives are kept in a bucket of an S3 server on this machine, which ends with
        the demo.

    Returns
    -------
    int
        0: every check passed; 1: one did not; 2: it could not start.
    """
    folder = OUTPUT if output is None else output
    problem = _what_is_missing() or _prepare(folder)
    if problem:
        return _refuse(problem, 2)
    # Only now: what these import may be missing.
    from gridmill.demo.archive import SampleDataMissing
    from gridmill.demo.reader import ReaderDied
    from gridmill.demo.tour import BUCKET, DemoFailed, Tour
    from gridmill.testing import S3Server, S3ServerMissing

    tour = Tour(folder, Console(highlight=False))
    try:
        with ExitStack() as stack:
            stack.enter_context(_quiet("distributed"))
            if s3:
                tour.s3 = stack.enter_context(S3Server(public_buckets=[BUCKET]))
            tour.run()
    except S3ServerMissing as error:
        return _refuse(f"{error}", 2)
    except SampleDataMissing as error:
        return _refuse(f"{error}; {INSTALL}", 2)
    except (DemoFailed, ReaderDied) as error:
        return _refuse(str(error), 1)
    return _conclude(tour)


@contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    """Let a logger's warnings through only."""
    logger = logging.getLogger(logger_name)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _conclude(tour: Tour) -> int:
    """Write the summary and say where everything is."""
    summary = tour.output / "summary.json"
    content = {"gridmill": version("gridmill"), **tour.summary}
    summary.write_text(json.dumps(content, indent=1) + "\n")
    succeeded = all(check.passed for check in tour.checks)
    say = partial(tour.console.print, markup=False, soft_wrap=True)
    seconds = tour.summary["seconds"]
    told = "All checks passed" if succeeded else "A check FAILED, see above"
    tour.console.print(f"\n[bold]{told}[/bold] ({seconds:.0f} s)")
    for name, path in {
        "archive": tour.stores.growing,
        "second": tour.stores.second,
        "picture": tour.picture,
        "summary": summary,
    }.items():
        say(f"  {name:8} {path}")
    if tour.s3 is not None:
        say("\n  The S3 server ended with the demo, and the archives with it.")
    else:
        opening = f'import xarray; print(xarray.open_zarr("{tour.stores.growing}"))'
        say(f"\n  Open it:  python -c '{opening}'")
    return 0 if succeeded else 1


def _refuse(problem: str, code: int) -> int:
    error = Console(stderr=True, highlight=False)
    error.print(f"gridmill demo: {problem}", markup=False, soft_wrap=True)
    return code


def _what_is_missing() -> str | None:
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if not missing:
        return None
    verb = "is" if len(missing) == 1 else "are"
    return f"{', '.join(missing)} {verb} not installed; {INSTALL}"


def _prepare(folder: Path) -> str | None:
    """Make an empty folder; why that cannot be."""
    marker = folder / MARKER
    try:
        if folder.exists() and not folder.is_dir():
            return f"{folder} is not a folder; give another --output"
        if folder.exists() and any(folder.iterdir()) and not marker.is_file():
            return f"{folder} holds files that no demo made; empty it, or give another --output"
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        marker.touch()
    except OSError as error:
        return f"cannot write to {folder}: {error}"
    return None


def _clear(folder: Path) -> None:
    """Delete what an earlier demo made, its marker last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == MARKER):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

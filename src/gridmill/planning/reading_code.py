"""What reads source files, as one short text that changes when any of it does.

Nobody raises a version number when a reader is fixed, so the code itself is hashed: the packages
that define a region job's classes, and the versions of the libraries that decode. A source file
that could not be read is read again where this changed.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

__all__ = ["reading_code", "version_of"]

DECODERS = (
    "eccodes",
    "eccodeslib",
    "h5netcdf",
    "h5py",
    "netCDF4",
    "numcodecs",
    "numpy",
    "scipy",
    "zarr",
)
# A package with more is an application that the classes happen to live in: their modules are told.
MOST_MODULES = 2000


def reading_code(job_class: type) -> str:
    """Return the hash of the code that a region job's class reads source files with.

    Parameters
    ----------
    job_class
        A subclass of `RegionJob`.

    Notes
    -----
    The same in every process that has the same code, wherever it is installed. Of a class from a
    notebook its source is taken, or where that is not known its compiled methods; functions beside
    the class, which they call, are not.
    """
    return _hash_of(job_class)


@cache
def _hash_of(job_class: Any) -> str:
    digest = hashlib.sha256()
    for part in _parts(job_class):
        digest.update(part)
    for name in DECODERS:
        digest.update(f"{name} {version_of(name)}\n".encode())
    return digest.hexdigest()[:16]


def _parts(job_class: type) -> Iterator[bytes]:
    seen = set()
    for one in job_class.__mro__[:-1]:
        package = one.__module__.partition(".")[0]
        if package in sys.stdlib_module_names and package != "__main__":
            continue
        if package == "__main__":
            yield _source_of(one)
        elif package not in seen:
            seen.add(package)
            yield from _code_of(package, one)


def _code_of(package: str, one: type) -> Iterator[bytes]:
    file = getattr(sys.modules.get(package), "__file__", None)
    if file is None:
        yield _source_of(one)
        return
    root = Path(file)
    modules = sorted(root.parent.rglob("*.py")) if root.name == "__init__.py" else [root]
    if len(modules) > MOST_MODULES:
        modules = [Path(inspect.getfile(one))]
    for module in modules:
        yield module.read_bytes()


def _source_of(one: type) -> bytes:
    try:
        return inspect.getsource(one).encode()
    except (OSError, TypeError):  # a notebook's cells are no file
        functions = [_function(member) for _, member in sorted(vars(one).items(), key=str)]
        compiled = [_compiled(f.__code__) for f in functions if isinstance(f, FunctionType)]
        return b"".join([one.__qualname__.encode(), *compiled])


def _function(member: Any) -> Any:
    """Return the function behind a method of any kind."""
    return getattr(member, "fget", None) or getattr(member, "__func__", member)


def _compiled(code: CodeType) -> bytes:
    """Return what a function does, independent of where it was compiled or written."""
    consts = [
        _compiled(one) if isinstance(one, CodeType) else repr(_in_order(one)).encode()
        for one in code.co_consts
    ]
    return b"".join([code.co_code, repr(code.co_names).encode(), *consts])


def _in_order(constant: Any) -> Any:
    return sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant


def version_of(name: str) -> str:
    """Return the version of an installed package; empty if there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""

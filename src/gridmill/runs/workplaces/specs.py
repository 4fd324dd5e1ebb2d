"""What names a cluster, checked before one is started, without importing what would start it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["AUTO", "KINDS", "LOCAL", "NONE", "check_spec", "is_address"]

AUTO, LOCAL, NONE, COILED = "auto", "local", "none", "coiled"
# What is offered where a cluster is named; a class or a scheduler's file is one's own.
KINDS: Mapping[str, str] = {
    AUTO: "in this process where the work takes seconds, else local",
    LOCAL: "workers on this machine",
    NONE: "everything in this process",
    COILED: "a cluster that Coiled starts",
    "tcp://": "a scheduler that runs",
    "tls://": "a scheduler that runs, encrypted",
}


def is_address(spec: Any) -> bool:
    """Whether a spec leads to a scheduler that is there, by its address or file."""
    return isinstance(spec, str) and ("://" in spec or spec.endswith(".json"))


def check_spec(
    spec: Any,
    workers: int | None = None,
    adapt: tuple[int, int] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Refuse what names no cluster, and options that would have no effect.

    Raises
    ------
    ValueError
        `spec` means nothing, or options are given for a cluster that is already there.

    Examples
    --------
    >>> check_spec("auto")
    >>> check_spec("tcp://10.0.0.1:8786", workers=2)
    Traceback (most recent call last):
    ...
    ValueError: the cluster tcp://10.0.0.1:8786 is already there: --workers, --adapt and cluster \
options have no effect on it; leave them out
    """
    if spec is None or spec in (AUTO, LOCAL):
        return
    if not isinstance(spec, str) or spec == NONE or is_address(spec):
        if workers is not None or adapt is not None or options:
            why = (
                "no cluster is started" if spec == NONE else f"the cluster {spec} is already there"
            )
            raise ValueError(
                f"{why}: --workers, --adapt and cluster options have no effect on it; leave them "
                "out"
            )
        _check_scheduler_file(spec)
        return
    _check_class("coiled:Cluster" if spec == COILED else spec, spec)


def _check_scheduler_file(spec: Any) -> None:
    if is_address(spec) and "://" not in spec and not Path(spec).exists():
        raise ValueError(f"there is no scheduler file {spec}: is the scheduler running?")


def _check_class(path: str, spec: str) -> None:
    module_name, _, class_name = path.partition(":")
    if class_name.isdigit():
        raise ValueError(f"{spec!r} is no cluster: is it the address tcp://{spec}?")
    if not class_name:
        raise ValueError(
            f"{spec!r} is no cluster: give auto, local, none, an address like tcp://host:8786, a "
            "scheduler file (*.json), coiled, or package.module:ClusterClass"
        )
    package = module_name.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"cluster {spec!r} cannot be used: No module named {package!r}; is it installed?"
        )

"""Whether a class from a notebook can be sent to workers, and what of it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any

import cloudpickle

from gridmill.authoring.region_job import RegionJob

__all__ = ["check_can_be_sent"]


def check_can_be_sent(job_class: type[RegionJob[Any, Any]]) -> None:
    """Refuse a class that workers can neither import nor get by value.

    What a notebook or script defines is sent with all that its methods use.

    Raises
    ------
    ValueError
        Something of it does not pickle; names it.
    """
    if job_class.__module__ != "__main__":
        return
    try:
        cloudpickle.dumps(job_class)
    except Exception as error:
        culprits = [name for name in _used_by(job_class) if _why_not(_global(job_class, name))]
        named = ", ".join(dict.fromkeys(culprits)) or "something that its methods use"
        raise ValueError(
            f"{job_class.__name__} cannot be sent to workers: {named} does not pickle ({error}); "
            "make it inside the method that uses it, move the class to a package that the workers "
            "have, or run in this process (--cluster none)"
        ) from None


def _functions(job_class: type) -> Iterator[FunctionType]:
    for member in vars(job_class).values():
        function = getattr(member, "__func__", member)
        if isinstance(function, FunctionType):
            yield function


def _used_by(job_class: type) -> list[str]:
    return [name for one in _functions(job_class) for name in one.__code__.co_names]


def _global(job_class: type, name: str) -> Any:
    return next((one.__globals__.get(name) for one in _functions(job_class)), None)


def _why_not(value: Any) -> str:
    try:
        cloudpickle.dumps(value)
    except Exception as error:
        return str(error) or type(error).__name__
    return ""

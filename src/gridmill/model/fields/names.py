"""What an array of an archive can be called. Pure."""

from __future__ import annotations

__all__ = ["check_name"]

# What a Zarr hierarchy means by itself.
TAKEN = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


def check_name(name: str) -> None:
    """Raise unless an array of an archive can have a name.

    Raises
    ------
    ValueError
        It is a path: an archive is one group, which readers open as one dataset. Or nothing that
        names an array in Zarr.

    Examples
    --------
    >>> check_name("pressure_levels/t")
    Traceback (most recent call last):
    ...
    ValueError: 'pressure_levels/t' is a path: an archive is one group, which readers open as one \
dataset with one call; call it 'pressure_levels_t', or give each group an archive of its own
    """
    if "/" in name:
        raise ValueError(
            f"{name!r} is a path: an archive is one group, which readers open as one dataset with "
            f"one call; call it {name.strip('/').replace('/', '_')!r}, or give each group an "
            "archive of its own"
        )
    if not name.strip(".") or name in TAKEN:
        raise ValueError(f"{name!r} names no array in Zarr: give another name")

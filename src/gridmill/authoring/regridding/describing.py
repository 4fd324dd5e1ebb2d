"""What readers are told of a variable whose fields came from another grid."""

from __future__ import annotations

from dataclasses import replace

from gridmill.model.fields.regrid import Regrid, told_grid
from gridmill.model.variables import DataVar

__all__ = ["OF_AREA", "described"]

# What CF calls it where a value is a mean over its cell.
OF_AREA = "area: mean"
WORDS = {"bilinear": "bilinear interpolation", "conservative": "first-order conservative"}


def described(var: DataVar) -> DataVar:
    """Return a variable that says in ``regridding`` how, from which grid and by what it came.

    And in ``cell_methods`` that it is a mean over its cell's area, where it is one. What the author
    says of either stands.
    """
    from_grids = [(source.name, source.regridded) for source in var.sources]
    known = {name: how for name, how in from_grids if how is not None}
    if not known:
        return var
    each = dict.fromkeys(_told(how) for how in known.values())
    attrs = {"regridding": "; ".join(each), **var.attrs}
    if all(how.method == "conservative" for how in known.values()) and len(known) == len(
        from_grids
    ):
        attrs["cell_methods"] = _with_area(var)
    return replace(var, attrs=attrs)


def _told(how: Regrid) -> str:
    share = "" if how.at_least == 1 else f", where at least {how.at_least:g} of it has values"
    told = f"{WORDS[how.method]}, from {told_grid(how.grid)}{share}"
    return f"{told}; weights by gridmill, applied by SciPy"


def _with_area(var: DataVar) -> str:
    """Put the mean over the area where it was taken: before the archive's own over time."""
    given = str(var.attrs.get("cell_methods", ""))
    if "area:" in given:
        return given
    parts = [OF_AREA, given] if var.aggregated is not None else [given, OF_AREA]
    return " ".join(part for part in parts if part)

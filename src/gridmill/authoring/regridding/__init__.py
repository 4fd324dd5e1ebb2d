"""Fields of another grid than the archive's: how they are brought to it, declared on a variable.

`DataVar.regridded` takes a `Regrid`. Weights are computed once a machine, and kept in the folder
that the workers of a machine share, by the content of both grids. SciPy's sparse matrices carry
them.

Why not a library for regridding: xESMF and iris-esmf-regrid need ESMPy, which is on conda alone.
xarray-regrid computes its weights anew for each field, in degrees of latitude and not by area, for
grids without a projection; pyresample and earthkit-geo have nothing conservative with a share of
valid area that is the author's to choose.

See Also
--------
gridmill.authoring.grids : the grids that a source may have.
"""

from gridmill.model.fields.regrid import Regrid

__all__ = ["Regrid"]

"""Fields of another grid than the archive's: how they are brought to it, declared on a variable.

`DataVar.regridded` takes a `Regrid`. Weights are computed once a machine, and kept in the folder
that the workers of a machine share, by the content of both grids. SciPy's sparse matrices carry
them.

Why not a library for regridding: xESMF and iris-esmf-regrid need ESMPy, which is on conda alone.
xarray-regrid (0.4.2) takes no grid with a projection, recomputes its weights for each field (0.3
s for 721 x 1440), and where a cell is cut it weighs degrees and not area: from 2.5 to 4 degrees the
integral over the sphere is off by 2e-5. pyresample has nothing conservative, and earthkit-geo no
share of valid area.

Cells of projections are cut in the plane in which the archive's are rectangles (`geometry`): for
latitudes and longitudes that is the plane of longitude and sine of latitude, which keeps areas and
in which parallels are straight. A library of spherical polygons (S2, by spherely) has great circles
for sides, which parallels are not; one of flat polygons (shapely) makes an object of each cell, and
would still need the plane, the seam and the poles from here.

See Also
--------
gridmill.authoring.grids : the grids that a source may have.
"""

from gridmill.model.fields.regrid import Regrid

__all__ = ["Regrid"]

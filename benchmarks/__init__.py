"""Ratios within one run: gridmill against the physical limit and against plain dask + xarray."""

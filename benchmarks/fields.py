"""Smooth fields with the entropy of real ones, and a provider's NetCDF archive of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

__all__ = ["NAMES", "SHAPE", "make_fields", "write_archive"]

SHAPE = (721, 1440)
NAMES = ("t2m", "u10", "v10")


def make_fields(steps: int, seed: int) -> np.ndarray:
    """Make fields with a power-law spectrum that drift in time, packed to 0.01; dims step, y, x."""
    rng = np.random.default_rng(seed)
    ky = np.fft.fftfreq(SHAPE[0])[:, None] * SHAPE[0]
    kx = np.fft.rfftfreq(SHAPE[1])[None, :] * SHAPE[1]
    wavenumber = np.hypot(ky, kx)
    wavenumber[0, 0] = 1
    amplitude = wavenumber**-1.9
    amplitude[0, 0] = 0
    phase = rng.uniform(0, 2 * np.pi, amplitude.shape)
    drift = 0.05 * np.sqrt(wavenumber) * rng.normal(1, 0.3, amplitude.shape)
    fields = np.empty((steps, *SHAPE), np.float32)
    for step in range(steps):
        field = np.fft.irfft2(amplitude * np.exp(1j * (phase + drift * step)), s=SHAPE)
        noise = rng.normal(0, 0.02, SHAPE)
        fields[step] = np.round(280 + 8 * field / field.std() + noise, 2)
    return fields


def write_archive(folder: Path, steps: int, copies: int = 1) -> None:
    """Write one deflated NetCDF file a step, with three variables; the same on several days."""
    import netCDF4  # what the benchmarks' datasets need of this module does not

    every = {name: make_fields(steps, seed) for seed, name in enumerate(NAMES)}
    days = [folder / f"202001{1 + day:02d}" for day in range(copies)]
    days[0].mkdir()
    for step in range(steps):
        with netCDF4.Dataset(days[0] / f"f{step:03d}.nc", "w") as file:
            for dim, length in (("time", 1), ("latitude", SHAPE[0]), ("longitude", SHAPE[1])):
                file.createDimension(dim, length)
            for name, fields in every.items():
                dims = ("time", "latitude", "longitude")
                options = {"zlib": True, "complevel": 4, "chunksizes": (1, *SHAPE)}
                file.createVariable(name, "f4", dims, **options)[0] = fields[step]
    for day in days[1:]:
        shutil.copytree(days[0], day)

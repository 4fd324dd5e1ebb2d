"""Every real message: its values beside ecCodes', its coordinates beside ecCodes' or PROJ's."""

from __future__ import annotations

import gzip
import lzma
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pytest
from pyproj import CRS, Transformer

from gridmill.authoring.grids import (
    CellGrid,
    GaussianGrid,
    ProjectedGrid,
    RegionalGrid,
    RotatedGaussianGrid,
    RotatedGrid,
    SatelliteGrid,
)
from gridmill.sources.grib.framing import GribCorrupt, GribRefused, iter_messages
from gridmill.sources.grib.grids import Grid
from gridmill.sources.grib.messages import OpenMessage, decode_message_into, open_message, read_grid

UNPACK = {".gz": gzip.decompress, ".xz": lzma.decompress}
NOT_GRIB = {".idx", ".index", ".txt", ".json", ".py", ".nc", ".tsv", ".md"}
# Degrees. Headers write millionths, and thousandths in edition 1; ecCodes adds rounded increments
# where gridmill divides what lies between both ends (0.16-degree grids of waves).
GRANTED = 2e-4
# Of grids with more places than this, some rows are compared.
MOST_PLACES = 300_000
# Why a message is not read, by what the reason begins with.
REASONS = {
    "transverse Mercator: the scale factor 0.0": "an encoder wrote 0 for the scale factor, and "
    "degrees for their millionths: no reader knows what was meant",
}


@dataclass(frozen=True)
class Comparison:
    """What became of one message."""

    grid_type: str
    values: str
    places: str

    @property
    def is_equal(self) -> bool:
        return self.values == "equal" and self.places.startswith(("ecCodes", "PROJ", "not in it"))


def messages_below(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every whole message of a folder."""
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.suffix in NOT_GRIB:
            continue
        try:
            data = UNPACK.get(path.suffix, bytes)(path.read_bytes())
        except (OSError, EOFError, lzma.LZMAError):
            continue
        try:
            for field in iter_messages(data) if b"GRIB" in data[:100_000] else ():
                yield path.name, field.data
        except GribCorrupt:
            continue  # a sample cut short


def compare(opened: OpenMessage, known: dict[Any, str]) -> Comparison:
    """Compare a message with others' reading of it; the places of a grid once."""
    grid, key = opened.grid, (opened.grid, opened._layout())
    values = np.empty(grid.shape, np.float32)
    opened.decode_into(values)
    theirs = as_grid(opened, eccodes.codes_get_values(opened.handle), alternates=True)
    is_same = np.array_equal(values, theirs.astype(np.float32), equal_nan=True)
    if key not in known:
        known[key] = places(opened, grid)
    return Comparison(grid.grid_type, "equal" if is_same else "differ", known[key])


def as_grid(opened: OpenMessage, flat: np.ndarray, *, alternates: bool = False) -> np.ndarray:
    """Orient what ecCodes gives as a grid is; its places do not go back and forth, values do."""
    layout = opened._layout()
    array = np.empty(opened.shape, flat.dtype)
    lines = layout.lines_of(array)
    lines[...] = flat.reshape(lines.shape)
    if alternates and layout.alternating:
        lines[1::2] = lines[1::2, ::-1].copy()
    return array


def places(opened: OpenMessage, grid: Grid) -> str:
    """Say with whom the places agree."""
    if grid.grid_type == "unstructured_grid":
        with pytest.raises(GribRefused, match="does not hold the places"):
            grid.points()
        return "not in it (a file of the provider's)"
    rows = slice(None, None, 1 + int(np.prod(grid.shape)) // MOST_PLACES)
    if grid.y is not None:
        y = grid.y[rows].copy()
        some = replace(grid, y=y, shape=(y.size, grid.shape[1]))
        by_proj = farthest(some.points(), of_proj(some))
        if by_proj > 1e-7:
            return f"PROJ differs by {by_proj:.1e}"
        mine = some.points()
    else:
        by_proj, mine = None, [one[rows] for one in grid.points()]
    theirs = of_eccodes(opened, grid)
    by_eccodes = None if theirs is None else farthest(mine, [one[rows] for one in theirs])
    if by_eccodes is not None and by_eccodes <= GRANTED:
        return "ecCodes and PROJ" if by_proj is not None else "ecCodes"
    if by_proj is None:
        return f"ecCodes differs by {by_eccodes}"
    return f"PROJ (ecCodes {'has none' if theirs is None else f'is {by_eccodes:.0f} degrees off'})"


def of_eccodes(opened: OpenMessage, grid: Grid) -> list[np.ndarray] | None:
    """Give ecCodes' places of a message, as the grid has them; None where it knows none."""
    handle = opened.handle
    try:
        found = [eccodes.codes_get_array(handle, key) for key in ("latitudes", "longitudes")]
    except eccodes.CodesInternalError:
        return None
    if grid.grid_type == "space_view":
        # Space is 0, 0; places always run from the north-west, values as the image was scanned.
        found[0][(found[0] == 0) & (found[1] == 0)] = np.nan
        if opened._layout().i_negative:
            found = [one[::-1] for one in found]
        if eccodes.codes_get_double(handle, "orientationOfTheGridInDegrees") == 180:
            meridian = float(grid.grid_mapping["longitude_of_projection_origin"])
            found = [-found[0], 2 * meridian - found[1]]
    return [as_grid(opened, one) for one in found]


def of_proj(grid: Grid) -> list[np.ndarray]:
    """Give PROJ's places of the points of a plane."""
    x, y = np.meshgrid(grid.x, grid.y)
    mapping = {"false_easting": 0.0, "false_northing": 0.0, **grid.grid_mapping}
    crs = CRS.from_cf(mapping)
    base = crs.source_crs if grid.dims == ("rlat", "rlon") else crs.geodetic_crs
    height = float(grid.grid_mapping.get("perspective_point_height", 1.0))
    transformer = Transformer.from_crs(crs, base, always_xy=True)
    east, north = transformer.transform(x * height, y * height)
    return [np.where(np.isfinite(one), one, np.nan) for one in (north, east)]


def farthest(mine: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """Give the largest distance of places, in degrees; what one of both lacks is at the limb."""
    (latitudes, longitudes), (north, east) = mine, theirs
    if (np.isnan(latitudes) != np.isnan(north)).sum() > 2:
        return float("inf")
    off = np.abs((longitudes - east + 180) % 360 - 180) * np.cos(np.radians(latitudes))
    return float(np.nanmax(np.maximum(np.abs(latitudes - north), off)))


@pytest.mark.timeout(1200)  # gigabytes of satellite images
def test_real_messages_have_the_values_and_places_that_others_find(shared_data):
    """At least 98 % decode with both equal; each of the rest is refused for a reason that holds."""
    found: Counter[Comparison] = Counter()
    refused: Counter[str] = Counter()
    known: dict[Any, str] = {}
    for _, message in messages_below(shared_data):
        try:
            with open_message(message) as opened:
                found[compare(opened, known)] += 1
        except GribRefused as error:
            refused[str(error)] += 1
    for one, count in sorted(found.items(), key=lambda item: str(item[0])):
        print(f"{count:4} {one.grid_type:30} values {one.values:8} places: {one.places}")
    for reason, count in refused.items():
        print(f"{count:4} refused: {reason}")
    total = found.total() + refused.total()
    equal = sum(count for one, count in found.items() if one.is_equal)
    assert total > 200
    assert equal / total >= 0.98
    assert [one for one in found if not one.is_equal] == []
    assert [why for why in refused if not why.startswith(tuple(REASONS))] == []


def message_of(root: Path, name: str) -> bytes:
    """Give the first message of a file."""
    return next(data for found, data in messages_below(root) if found.startswith(name))


def test_declared_regions_are_those_of_their_files(shared_data):
    """HRDPS, MRMS and Lambert's equal-area of Europe: the grid that is declared, and no other."""
    hrdps = RotatedGrid(
        southern_pole=(-36.08852, 245.305142),
        first_latitude=-12.302501,
        first_longitude=-14.82122,
        step_degrees=0.0225,
        shape=(1290, 2540),
    )
    mrms = RegionalGrid(
        first_latitude=54.995,
        first_longitude=-129.995,
        step_degrees=(-0.01, 0.01),
        shape=(3500, 7000),
    )
    files = {
        "20260219T00Z_MSC_HRDPS": hrdps,
        "MRMS_PrecipFlag_00.00_20260219-042400.grib2": mrms,
    }
    grids = {name: read_grid(message_of(shared_data, name)) for name in files}
    for name, declared in files.items():
        for other, grid in grids.items():
            assert bool(declared.differences(grid)) == (name != other)
    latitudes, longitudes = grids["20260219T00Z_MSC_HRDPS"].points()
    np.testing.assert_allclose(hrdps.auxiliary()["latitude"][1], latitudes, atol=1e-5)
    np.testing.assert_allclose(hrdps.auxiliary()["longitude"][1], longitudes, atol=2e-5)


def test_a_gaussian_grid_is_that_of_its_file(shared_data):
    """GDAS's grid of 94 rows, and no other number of them."""
    grid = read_grid(message_of(shared_data, "gdas_tmp2m"))
    assert GaussianGrid(parallels=47, columns=192).differences(grid) == []
    assert "not 96 latitude" in GaussianGrid(parallels=48, columns=192).differences(grid)[0]


def test_a_projected_grid_may_run_southwards(shared_data):
    """A plane whose first row is the northern one is declared by a negative step."""
    azimuthal = next(
        grid
        for _, data in messages_below(shared_data / "S6_grids")
        for grid in [grid_or_none(data)]
        if grid is not None and grid.grid_type == "lambert_azimuthal_equal_area"
    )
    latitudes, longitudes = azimuthal.points()
    declared = ProjectedGrid(
        mapping=dict(azimuthal.grid_mapping),
        first_latitude=float(latitudes[0, 0]),
        first_longitude=float(longitudes[0, 0]),
        step_m=(-25000.0, 25000.0),
        shape=(432, 432),
    )
    assert declared.differences(azimuthal) == []


def test_a_view_from_space_and_a_turned_gaussian_grid_are_those_of_their_files(shared_data):
    """By the numbers of the headers, whichever way the image was scanned; and no other."""
    sphere = {"earth_radius": 6367470.0}
    declared = {
        "space_view.grib": SatelliteGrid(
            satellite_longitude=0.0,
            distance=6.6107,
            diameter=(3610, 3622),
            centre=(1774, 764),
            shape=(900, 1900),
            earth={"semi_major_axis": 6378140.0, "semi_minor_axis": 6356755.0},
        ),
        "ukv_chan9.grib2": SatelliteGrid(
            satellite_longitude=0.0,
            distance=6.610674,
            diameter=(3610, 3622),
            centre=(-1464, 266),
            shape=(227, 390),
            northern_row_first=False,
            earth={"semi_major_axis": 6378168.8, "semi_minor_axis": 6356584.0},
        ),
        "rotated_gg.grib": RotatedGaussianGrid(
            southern_pole=(30.0, 30.0), parallels=48, columns=192, earth=sphere
        ),
    }
    kinds = "space_view", "rotated_gg"
    found: dict[str, list[Grid]] = {name: [] for name in declared}
    for name, data in messages_below(shared_data):
        if (
            name in declared
            and (grid := grid_or_none(data)) is not None
            and grid.grid_type in kinds
        ):
            found[name].append(grid)
    for name, grid in declared.items():
        fitting = [one for one in found[name] if not grid.differences(one)]
        assert fitting, name
        places = [grid.auxiliary()[axis][1] for axis in ("latitude", "longitude")]
        # float32 knows a longitude of 180 degrees to 2e-5.
        np.testing.assert_allclose(places[0], fitting[0].points()[0], atol=2e-5)
        off = (places[1] - fitting[0].points()[1] + 180) % 360 - 180
        assert np.nanmax(np.abs(off)) < 2e-4
        assert all(
            grid.differences(one) for other in found if other != name for one in found[other]
        )


def grid_or_none(message: bytes) -> Grid | None:
    """Read a grid where it is taken."""
    try:
        return read_grid(message)
    except GribRefused:
        return None


def test_cells_are_those_of_their_mesh(shared_data):
    """HEALPix is checked place by place, an unstructured mesh by what the message says it is."""
    healpix = message_of(shared_data, "healpix_H8")
    grid = read_grid(healpix)
    declared = CellGrid(latitudes=grid.latitudes, longitudes=grid.longitudes, mesh="HEALPix")
    assert declared.differences(grid) == []
    moved = CellGrid(latitudes=grid.latitudes[::-1].copy(), longitudes=grid.longitudes)
    assert "cell 0 is at" in moved.differences(grid)[0]
    icon = message_of(shared_data, "test_icon")
    uuid = "5a0a863d2523951577894930e3452bc0"
    cells = CellGrid(latitudes=np.zeros(6), longitudes=np.arange(6.0), mesh=uuid)
    assert cells.differences(read_grid(icon)) == []
    other = CellGrid(latitudes=np.zeros(6), longitudes=np.arange(6.0), mesh="0" * 32)
    assert "not 0000" in other.differences(read_grid(icon))[0]
    values = np.empty(6, np.float32)
    decode_message_into(values, icon)
    assert np.isfinite(values).all()

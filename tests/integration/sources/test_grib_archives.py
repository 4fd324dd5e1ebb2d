"""GRIB messages of whole archives, beside the tools of others, and damaged ones."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import eccodes
import eccodeslib
import numpy as np
import pytest

from decoded_messages import VALUES, assert_points_agree, decode, soak
from grib_messages import encode
from gridmill.sources.grib.framing import GribCorrupt, iter_messages
from gridmill.sources.grib.messages import message_identity, read_grid
from made_archives import make_archive
from mutants import Child, made_seeds, mutant


def test_damaged_messages_are_errors_and_no_crashes():
    """Headers changed at random end in an error with a reason or in values; nobody dies of them.

    ``make fuzz-grib`` is the same for 20,000 mutants, of real messages too.
    """
    seeds = list(made_seeds().items())
    chance, child, outcomes, failed = random.Random(17), Child(), Counter(), []
    for number in range(12 * len(seeds)):
        name, message = seeds[number % len(seeds)]
        outcome, said, _ = child.read(mutant(message, chance))
        answers = [answer for one in said for answer in one.values()] if outcome == "read" else []
        outcomes.update(word for word, _ in answers)
        if outcome in ("died", "late", "unexpected"):
            failed.append((number, name, outcome, said))
        failed += [(number, name, *answer) for answer in answers if answer[0] == "unexpected"]
    child.close()
    assert failed == []
    assert outcomes["read"] > 1000
    assert outcomes["refused"] > 100


def test_without_eccodes_the_error_names_the_extra():
    """Whoever installed gridmill without GRIB learns what to install, when it is needed."""
    code = (
        "import sys; sys.modules['eccodes'] = None\n"
        "from gridmill.sources.grib.messages import read_grid\n"
        "try: read_grid(bytes.fromhex(sys.argv[1]))\n"
        "except ImportError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, encode(VALUES).hex()]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "gridmill[grib]" in run.stdout


@pytest.fixture(scope="module")
def real_messages(shared_data):
    """Every whole message of the real files, by file, and what is wrong with the rest."""
    found, problems = {}, {}
    for path in sorted(shared_data.rglob("*")):
        if not path.is_file() or path.open("rb").read(4) != b"GRIB":
            continue
        found[path] = []
        try:
            found[path].extend(message.data for message in iter_messages(path))
        except GribCorrupt as error:
            problems[path.name] = str(error)
    return found, problems


# Files of which a message lies on a grid that ecCodes places otherwise, or not at all.
ON_OTHER_GRIDS = {
    "20260219T00Z_MSC_HRDPS_CAPE_Sfc_RLatLon0.0225_PT000H.grib2": "rotated_ll",
    "drt2_complex.grib2": "transverse_mercator",
    "healpix_H8.grib2": "healpix",
    "icon_global_icosahedral_single-level_2021112018_000_TOT_PREC.grib2": "unstructured_grid",
    "lambert_azimuthal_equal_area.grib": "lambert_azimuthal_equal_area",
    "mercator.grib": "turned",
    "orca.grib": "unstructured_grid",
    "rap.tsoil.gdt32769.grib2": "ncep_32769",
    "rotated_N32_subarea.grib": "reduced_rotated_gg",
    "rotated_gg.grib": "rotated_gg",
    "rotated_ll.grib1": "rotated_ll",
    "space_view.grib": "space_view",
    "test_icon.grib": "unstructured_grid",
    "transverse_mercator.grib": "transverse_mercator",
    "ukv_chan9.grib2": "space_view",
}


@pytest.fixture(scope="module")
def on_known_grids(real_messages):
    """The real messages whose grid is taken, by file."""
    found, _ = real_messages
    return {path: messages for path, messages in found.items() if path.name not in ON_OTHER_GRIDS}


def test_real_messages_survive_threads(on_known_grids):
    """Eight threads on real messages of every packing and grid give the serial values."""
    first = [messages[0] for messages in on_known_grids.values() if messages]
    one_a_file = [message for message in first if np.prod(read_grid(message).shape) < 1.1e6]
    differing, decoded = soak(one_a_file, 4)
    assert differing == 0
    assert decoded >= 150


def test_every_real_message_is_read(real_messages, on_known_grids):
    """All decode to ecCodes' values at its iterator's positions; test_real_grids has the others."""
    _, problems = real_messages
    checked = Counter()
    for messages in on_known_grids.values():
        for message in messages:
            grid, values = read_grid(message), decode(message)
            message_identity(message)
            assert_real_values(message, grid, values)
            checked[grid.grid_type] += 1
    assert sum(checked.values()) >= 155
    assert set(checked) == {
        "regular_ll", "regular_gg", "reduced_ll", "lambert", "polar_stereographic", "mercator",
    }  # fmt: skip
    # Two samples were cut at 100 kB by whoever made them.
    assert sorted(problems) == ["4_gfs.t00z.pgrb2.1p00.f000", "5_gfs.t00z.pgrb2.1p00.f000"]
    assert all("cut off" in problem for problem in problems.values())


def assert_real_values(message, grid, values):
    handle = eccodes.codes_new_from_message(message)
    try:
        missing = eccodes.codes_get_double(handle, "missingValue")
        if values.size > 5e6:  # MRMS: triples would take 600 MB
            expected = eccodes.codes_get_values(handle)
        else:
            triples = eccodes.codes_get_array(handle, "latLonValues").reshape(-1, 3)
            expected = triples[:, 2]
            # ecCodes adds up increments that are rounded to 1e-6 degrees.
            atol = 2e-4 if grid.grid_type == "regular_ll" else 1e-5
            assert_points_agree(grid, triples[:, 0], triples[:, 1], atol=atol)
    finally:
        eccodes.codes_release(handle)
    with np.errstate(over="ignore"):
        expected = np.where(expected == missing, np.nan, expected).astype(np.float32)
    np.testing.assert_array_equal(values.ravel(), expected)


def test_real_values_are_those_that_the_tools_print(on_known_grids):
    """`grib_get_data` of ecCodes prints, in another process, what we decode, point by point."""
    tool = Path(eccodeslib.__file__).parent / "bin" / "grib_get_data"
    if not tool.exists():
        pytest.skip("this build of ecCodes has no command line tools")
    compared, large = 0, set()
    for path, messages in on_known_grids.items():
        points = np.prod(read_grid(messages[0]).shape)
        packing = packing_of(messages[0])
        # Two of every file with a small grid, and one large field of each packing.
        if points > 110_000 and (points > 2e6 or packing in large):
            continue
        large |= {packing} if points > 110_000 else set()
        counts = ["-w", "count=1" if points > 110_000 else "count=1/2"]
        printed = subprocess.run(
            [tool, "-m", "nan", *counts, path], capture_output=True, text=True, check=False
        ).stdout.split("Latitude Longitude Value\n")[1:]
        assert len(printed) == min(len(messages), 1 + (points <= 110_000)), path
        for text, message in zip(printed, messages, strict=False):
            table = np.fromstring(text, sep=" ").reshape(-1, 3)
            np.testing.assert_allclose(decode(message).ravel(), table[:, 2], rtol=2e-7)
            assert_points_agree(read_grid(message), table[:, 0], table[:, 1], atol=6e-4)
            compared += 1
    assert compared >= 60
    assert len(large) == 5


def packing_of(message):
    handle = eccodes.codes_new_from_message(message)
    try:
        return eccodes.codes_get(handle, "packingType")
    finally:
        eccodes.codes_release(handle)


@pytest.mark.parametrize(
    ("grid", "arguments"),
    [
        ("1p00", ["--inits", "2", "--leads", "0:12:3"]),
        ("0p25", ["--inits", "1", "--leads", "6:6:6"]),
    ],
)
def test_a_made_gfs_archive_decodes_to_its_truth(shared_data, tmp_path, grid, arguments):
    """Every field has the checksum that was computed from the packed integers, by no decoder."""
    arguments = ["--grid", grid, *arguments]
    root = make_archive(shared_data, tmp_path, "make_gfs_archive.py", *arguments)
    truth = [json.loads(line) for line in (root / "truth.jsonl").open()]
    for entry in truth:
        with (root / entry["file"]).open("rb") as file:
            file.seek(entry["offset"])
            values = decode(file.read(entry["length"]))
        assert zlib.crc32(values.astype("<f4").tobytes()) == entry["crc32"], entry["idx"]
        assert np.isnan(values).sum() == entry["nan"]
    assert len(truth) > 5


def test_a_made_ecmwf_archive_decodes_to_its_truth(shared_data, tmp_path):
    """Re-packed CCSDS fields, from 180°E, have the extremes and means that were put in."""
    root = make_archive(shared_data, tmp_path, "make_aifs_archive.py", "--inits", "1",
                        "--leads", "0:6:6")  # fmt: skip
    truth = [json.loads(line) for line in (root / "truth.jsonl").open()]
    for entry in truth:
        with (root / entry["file"]).open("rb") as file:
            file.seek(entry["offset"])
            message = file.read(entry["length"])
        values = decode(message).astype(np.float64)
        got = (values.min(), values.max(), values.mean())
        assert got == pytest.approx((entry["min"], entry["max"], entry["mean"]), abs=entry["tol"])
        assert read_grid(message).longitudes[0] == -180
    assert len(truth) == 8

"""GRIB messages with changed headers, and a child process that reads them.

A seed is a whole message, one for each way of writing a header: those that the project makes itself
with ecCodes' samples, and those of real files where a folder of them is given. A mutant is a seed
with one to four changed octets in its headers, or with a number of two or four octets set to one of
its extremes.
"""

from __future__ import annotations

import json
import random
import select
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import eccodes
import numpy as np

from grib_messages import REGULAR, encode, encode_in_band_missing
from gridmill.sources.grib.framing import iter_messages

# A mutant is a mutant whatever the size of its data, and a large one takes long to decode.
LARGEST_SEED = 600_000
MOST_POINTS = 3_000_000
# Values of one grid at most; what a child may have beside them, libraries included.
MOST_MEMORY = 6 * 1024**3
PATIENCE_S = 60.0

PACKINGS = (
    "grid_simple",
    "grid_complex",
    "grid_complex_spatial_differencing",
    "grid_ccsds",
    "grid_jpeg",
    "grid_png",
    "grid_ieee",
)
SAMPLES = (
    *(f"regular_ll_{level}_grib{edition}" for level in ("sfc", "pl") for edition in (1, 2)),
    *(f"regular_gg_{level}_grib{edition}" for level in ("sfc", "ml") for edition in (1, 2)),
    *(f"reduced_gg_{level}_grib{edition}" for level in ("sfc", "ml") for edition in (1, 2)),
    *(f"reduced_ll_sfc_grib{edition}" for edition in (1, 2)),
    *(f"polar_stereographic_sfc_grib{edition}" for edition in (1, 2)),
    *(f"rotated_ll_sfc_grib{edition}" for edition in (1, 2)),
    *(f"rotated_gg_sfc_grib{edition}" for edition in (1, 2)),
    *(f"sh_pl_grib{edition}" for edition in (1, 2)),
)
# Of edition 2 on the regular grid: the other grids, and the other kinds of products.
GRIDS = ("lambert", "mercator", "lambert_azimuthal_equal_area", "transverse_mercator", "healpix")
PRODUCTS = (1, 2, 5, 8, 9, 11, 12, 15, 31, 32, 40, 42, 44, 48)
EDITION_1_PACKINGS = ("grid_second_order", "grid_second_order_row_by_row", "grid_simple_matrix")


def made_seeds() -> dict[str, bytes]:
    """Make one message for each way of writing a header that ecCodes can write."""
    values = np.random.default_rng(1).normal(280, 15, (31, 16)).round(1)
    gaps = np.where(values > 290, np.nan, values)
    seeds: dict[str, bytes] = {}

    def add(name: str, *arguments: Any, **keys: Any) -> None:
        # An installed ecCodes may lack a sample or a packing.
        with suppress(eccodes.CodesInternalError, TypeError):
            seeds[name] = encode(*arguments, **keys)

    for sample in SAMPLES:
        add(sample, sample=sample)
    for packing in PACKINGS:
        add(packing, values, packing=packing)
        add(f"{packing} with gaps", gaps, packing=packing)
    for packing in EDITION_1_PACKINGS:
        add(f"{packing} of edition 1", values, sample="regular_ll_sfc_grib1", packing=packing)
    for grid in GRIDS:
        add(grid, keys={"gridType": grid})
    for product in PRODUCTS:
        add(f"product {product}", keys={"productDefinitionTemplateNumber": product})
    add("constant", np.full((31, 16), 280.0), sample=REGULAR)
    for management in (1, 2):
        seeds[f"missing in band {management}"] = encode_in_band_missing(management)[0]
    return seeds


def real_seeds(folder: Path) -> dict[str, bytes]:
    """Choose of real files the smallest message for each set of templates."""
    smallest: dict[tuple[object, ...], bytes] = {}
    names: dict[tuple[object, ...], str] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.open("rb").read(4) != b"GRIB":
            continue
        with suppress(ValueError):
            for message in iter_messages(path):
                key = _templates(message.data)
                if message.data[7] == 2 and _points(message.data) > MOST_POINTS:
                    continue
                if len(message.data) < len(smallest.get(key, bytes(LARGEST_SEED))):
                    smallest[key], names[key] = message.data, path.name
    return {f"{names[key]} {key}": message for key, message in smallest.items()}


def _templates(message: bytes) -> tuple[object, ...]:
    """Tell apart what reads different octets."""
    if message[7] == 1:
        section2 = 8 + int.from_bytes(message[8:11], "big")
        start, flags = section2, message[15]
        for present in (0x80, 0x40):
            start += int.from_bytes(message[start : start + 3], "big") if flags & present else 0
        return (1, message[section2 + 5] if flags & 0x80 else None, flags, message[start + 3] >> 4)
    found = dict(_sections(message))
    at = {3: (12, 2), 4: (7, 2), 5: (9, 2), 6: (5, 1)}
    sizes = {n: message[found[n] + p : found[n] + p + k].hex() for n, (p, k) in at.items()}
    return (2, *sizes.values())


def _points(message: bytes) -> int:
    start = dict(_sections(message))[3]
    return int.from_bytes(message[start + 6 : start + 10], "big")


def _sections(message: bytes) -> Iterator[tuple[int, int]]:
    start = 16
    while start < len(message) - 4:
        yield message[start + 4], start
        start += int.from_bytes(message[start : start + 4], "big")


def header_spans(message: bytes) -> list[tuple[int, int]]:
    """Find the octets that are headers, section by section; of data their first 64."""
    if message[7] == 2:
        starts = [start for _, start in _sections(message)]
    else:
        starts, flags = [8], message[15]
        for present in (True, bool(flags & 0x80), bool(flags & 0x40)):
            if present:
                nbytes = int.from_bytes(message[starts[-1] : starts[-1] + 3], "big")
                starts.append(starts[-1] + nbytes)
    ends = [*starts[1:], len(message) - 4]
    spans = [(start, min(end, start + 200)) for start, end in zip(starts, ends, strict=True)]
    spans[-1] = (starts[-1], min(starts[-1] + 64, len(message) - 4))
    return [(start, end) for start, end in spans if start < end]


def mutant(message: bytes, chance: random.Random) -> bytes:
    """Change the headers of a message."""
    changed = bytearray(message)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        start, end = chance.choice(header_spans(message))
        at, width = chance.randrange(start, end), chance.choice([1, 1, 1, 1, 2, 4])
        if width == 1:
            few = [0, 255, changed[at] ^ (1 << chance.randrange(8)), changed[at] - 1]
            new = chance.choice([*few, changed[at] + 1, chance.randrange(256)]) % 256
            changed[at] = new
        elif at + width <= end:
            top = 1 << (8 * width - 1)
            changed[at : at + width] = chance.choice([0, 1, top - 1, top, 2 * top - 1]).to_bytes(
                width, "big"
            )
    return bytes(changed)


# What a child does with each message that it is given, as a length and its bytes.
SERVE = """
import json, resource, struct, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
import eccodes
import numpy as np
from gridmill.sources.grib.framing import GribCorrupt, GribRefused, iter_messages
from gridmill.sources.grib.messages import open_message

def attempt(read):
    try:
        return "read", read()
    except (GribCorrupt, GribRefused, eccodes.CodesInternalError) as error:
        return "refused", f"{type(error).__name__}: {error}"
    except Exception as error:
        return "unexpected", f"{type(error).__name__}: {error}"[:300]

def decoded(opened):
    values = np.empty(opened._layout().shape, np.float32)
    opened.decode_into(values)
    return values

def serve(answer):
    while head := sys.stdin.buffer.read(4):
        data = sys.stdin.buffer.read(struct.unpack(">I", head)[0])
        said = attempt(lambda: [answer(one.data) for one in iter_messages(data)])
        rss_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sys.stdout.write(json.dumps([*said, rss_kb]) + "\\n")
        sys.stdout.flush()
"""
READER = (
    SERVE
    + """
def answer(data):
    with open_message(data) as opened:
        asked = {n: attempt(lambda: bool(getattr(opened, n)))
                 for n in ("identity", "short_name", "units", "grid")}
        asked["values"] = attempt(lambda: decoded(opened).size)
    return asked
serve(answer)
"""
)
# Whether another decoder gives the same values, in whatever order it gives them.
SECOND = (
    SERVE
    + """
import gribberish
from spec_decoder import cause, is_same

def answer(data):
    with open_message(data) as opened:
        mine = decoded(opened).ravel()
    try:
        theirs = np.asarray(gribberish.parse_grib_array(data, 0)).ravel()
    except BaseException as error:
        return "refused", f"{type(error).__name__}: {error}"[:120], ""
    # It gives float64, and what it means by missing is NaN.
    mine, theirs = np.sort(mine), np.sort(theirs.astype(np.float32))
    if mine.shape != theirs.shape:
        return "another size", cause(data, mine, theirs), f"{mine.size} and {theirs.size}"
    if is_same(mine, theirs):
        return "same", "", ""
    return "different", cause(data, mine, theirs), f"{mine[[0, -1]]} and {theirs[[0, -1]]}"
serve(answer)
"""
)


class Child:
    """A process that reads messages one after the other, and is started anew where it dies."""

    def __init__(self, code: str = READER) -> None:
        self._code = code
        # ecCodes says there what it died of.
        self._log = TemporaryFile()  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, message: bytes) -> tuple[str, Any, int]:
        """Give what became of a message: ``died`` and ``late`` beside what the child says."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(struct.pack(">I", len(message)) + message)
            process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        line = process.stdout.readline() if ready else b""
        if not line:
            self.close()
            said = f"exit code {process.returncode}: {self._last_line()}"
            return ("died", said, 0) if ready else ("late", "", 0)
        found: tuple[str, Any, int] = tuple(json.loads(line))
        return found

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            with suppress(BrokenPipeError):
                process.communicate(timeout=1) if process.poll() is not None else process.kill()
            process.wait()

    def _last_line(self) -> str:
        self._log.seek(max(self._log.seek(0, 2) - 300, 0))
        return self._log.read().decode(errors="replace").strip().rpartition("\n")[2]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-c", self._code, str(MOST_MEMORY)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
            )
        return self._process

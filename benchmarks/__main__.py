"""Run the benchmarks: `python -m benchmarks [NAME …] [--size full|short|toy]`, or `make bench`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.core import core
from benchmarks.encode import encode
from benchmarks.freshness import freshness, freshness_s3
from benchmarks.idle import idle
from benchmarks.measures import Measure
from benchmarks.memory import memory
from benchmarks.overlap import overlap
from benchmarks.pipeline import pipeline
from benchmarks.plain import plain
from benchmarks.plot import plot
from benchmarks.results import add_run, latest, read_runs
from benchmarks.resume import resume
from benchmarks.scale import scale
from benchmarks.shared import shared
from benchmarks.sizes import FULL, SHORT, TOY, Size
from benchmarks.start import start
from benchmarks.upload import upload
from benchmarks.whole import whole

__all__ = ["BENCHMARKS", "main"]

BENCHMARKS: Mapping[str, Callable[[Path, Size], Iterator[Measure]]] = {
    "encode": encode,
    "core": core,
    "whole": whole,
    "plain": plain,
    "dask": pipeline,
    "overlap": overlap,
    "scale": scale,
    "memory": memory,
    "upload": upload,
    "freshness": freshness,
    "freshness-s3": freshness_s3,
    "start": start,
    "resume": resume,
    "shared": shared,
    "idle": idle,
}
SIZES = {"full": FULL, "short": SHORT, "toy": TOY}
# Ratios of CPU seconds that a few minutes are enough for, also beside other work.
IN_SHORT = ("encode", "core", "dask", "scale", "resume")
# What a short run may miss a promise by: it has fewer pairs.
SHORT_SLACK = 1.10


def main(arguments: Sequence[str]) -> int:
    """Run benchmarks, print a table, keep what a full run measured; 1 if a promise is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="NAME")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--show", action="store_true", help="show and plot what was measured")
    asked = parser.parse_args(arguments)
    if asked.show:
        for measure in latest(read_runs()):
            print(measure)
        print(plot(read_runs()))
        return 0
    is_short = asked.size == "short"
    names = asked.names or (IN_SHORT if is_short else tuple(BENCHMARKS))
    measures = []
    print(f"{'ours / reference':55}{'median':>9} {'spread':>17}  {'unit':8} promise")
    try:
        for name in names:
            for measure in run(name, SIZES[asked.size]):
                measures.append(measure)
                print(measure, flush=True)
    finally:  # what was measured until it is interrupted is measured
        if asked.size == "full" and measures:
            add_run(measures)
    if any(measure.is_spoiled for measure in measures):
        print("others kept the cores busy meanwhile: wall times that say so are worth little")
    judged = [m for m in measures if "CPU" in m.unit] if is_short else measures
    missed = [m for m in judged if not m.holds(SHORT_SLACK if is_short else 1.0)]
    print(f"{len(judged) - len(missed)} of {len(judged)} hold")
    return 1 if missed and asked.size != "toy" else 0


def run(name: str, size: Size) -> Iterator[Measure]:
    """Run one benchmark in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="gridmill-bench-") as folder:
        yield from BENCHMARKS[name](Path(folder), size)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

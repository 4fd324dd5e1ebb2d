"""What is proposed for samples of netCDF, HDF5, Zarr and GeoTIFF files. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from gridmill.authoring.encoding.chunking import propose_cut
from gridmill.operations.samples.facts import ArrayAxis, ArraySample, ArrayVariable
from gridmill.operations.samples.pattern import (
    NameFacts,
    PathPattern,
    find_pattern,
)
from gridmill.operations.samples.proposal import (
    ArrayProposal,
    ProposedArray,
    Question,
    Timing,
)
from gridmill.operations.samples.proposing.asking import (
    no_pattern,
    shared_questions,
    too_many_variables,
    unexplained_words,
)
from gridmill.operations.samples.proposing.cadence import Cadence, cadence_of, step_of
from gridmill.operations.samples.proposing.choosing import LONG, chosen
from gridmill.operations.samples.proposing.naming import python_name

__all__ = ["propose_arrays"]

LATITUDES, LONGITUDES = ("latitude", "lat"), ("longitude", "lon", "long")
KEPT_ATTRS = ("standard_name", "long_name", "units", "cell_methods", "grid_mapping")


def propose_arrays(
    samples: Sequence[ArraySample], names: Sequence[str], only: Sequence[str] = ()
) -> ArrayProposal:
    """Propose a dataset.

    Parameters
    ----------
    samples, names
        The samples, and by which address each is known.
    only
        Names of the variables that are wanted; nothing takes all, up to a number.

    Raises
    ------
    ValueError
        The samples are not of one product, say no time, or lack a variable of `only`.
    """
    first, is_store = samples[0], samples[0].sample.kind == "zarr"
    facts = [NameFacts(times=(s.times[0], s.times[-1]) if s.times else ()) for s in samples]
    pattern = find_pattern(names, facts)
    times = _times(samples, pattern)
    words, odd = _words(pattern, samples)
    pattern = pattern.without_words() if odd else pattern
    cadence = _cadence(times, is_store=is_store)
    has_many = _have_many(samples, pattern, cadence)
    if not has_many:
        pattern = pattern.dated(by_hour=cadence.alias not in ("D", "7D", "MS", "YS"))
    renamed = _renamed(first)
    axes, auxiliary = _coordinates(samples, renamed)
    asked = [*odd, *shared_questions(cadence, pattern, "time", times), *_more(samples)]
    positions = _positions(cadence, samples, has_many)
    variables = list(_variables(samples, words, renamed, positions, asked))
    variables, others = chosen(variables, only)
    if others:
        asked.append(too_many_variables(others))
    return ArrayProposal(
        timing=Timing(
            labels=_labels(times, cadence), frequency=cadence.alias, calendar=first.calendar
        ),
        pattern=pattern,
        dims=variables[0].dims,
        chunks=variables[0].chunks,
        shards=variables[0].shards,
        compression=first.sample.compression,
        member=first.sample.member,
        questions=tuple(dict.fromkeys(one for one in asked if not is_store or one.at != "path")),
        left_out=tuple(line for sample in samples for line in sample.left_out),
        others=tuple(others),
        samples=samples,
        variables=tuple(variables),
        axes=_used(axes, variables),
        auxiliary=_used(auxiliary, variables),
        mappings=first.mappings,
        time_dim=first.time_dim,
        has_many=has_many,
        positions=max(len(sample.times) for sample in samples) or 1,
    )


def _used(
    coords: Mapping[str, ArrayAxis], variables: Sequence[ProposedArray]
) -> dict[str, ArrayAxis]:
    """Return the coordinates along dims that variables have."""
    dims = {dim for var in variables for dim in var.dims}
    own = {name: (name,) if name in dims else axis.dims for name, axis in coords.items()}
    return {name: axis for name, axis in coords.items() if set(own[name]) <= dims}


def _times(samples: Sequence[ArraySample], pattern: PathPattern) -> list[Any]:
    """Return the times of samples, by themselves or by their names."""
    if len({sample.calendar for sample in samples}) > 1:
        raise ValueError("the samples have different calendars: give samples of one product")
    told = [time for sample in samples for time in sample.times] or list(pattern.times)
    if not told:
        raise ValueError(
            f"{samples[0].sample.name} says no time, neither inside nor in its name: give samples "
            "by their whole address"
        )
    return sorted(set(told))


def _cadence(times: Sequence[Any], *, is_store: bool) -> Cadence:
    """Return the step; none where it would give other labels than those a store is asked for."""
    cadence = cadence_of(times)
    is_other = is_store and _labels(times, cadence) != list(times)
    return Cadence(None, is_known=False) if is_other else cadence


def _labels(times: Sequence[Any], cadence: Cadence) -> list[Any]:
    """Return the append dim's labels: months and years begin with their first day."""
    if cadence.alias not in ("MS", "YS"):
        return list(times)
    begin: dict[str, int] = {"day": 1, "hour": 0, "minute": 0, "second": 0}
    if cadence.alias == "YS":
        begin["month"] = 1
    return [time.replace(**begin) for time in times]


def _have_many(samples: Sequence[ArraySample], pattern: PathPattern, cadence: Cadence) -> bool:
    """Whether a file fills several positions: as it does, or as its name says of another time."""
    first = samples[0]
    if first.sample.kind == "zarr" or any(len(sample.times) > 1 for sample in samples):
        return True
    if first.time_dim is None:
        return False
    step = step_of(cadence.alias) or timedelta(days=366 if cadence.alias == "YS" else 32)
    paths = [pattern.render(at, timedelta(0), None, pattern.words[0]) for at in
             (first.times[0], first.times[0] + step)]  # fmt: skip
    return len(set(paths)) == 1


def _words(
    pattern: PathPattern, samples: Sequence[ArraySample]
) -> tuple[dict[str, str], list[Question]]:
    """Return by variable the part of its files' names that is its own; or ask what it is."""
    found: dict[str, str] = {}
    for words, sample in zip(pattern.words, samples, strict=True):
        for var in sample.variables if words else ():
            if len(words) > 1 or found.setdefault(var.name, words[0]) != words[0]:
                told = [time for one in samples for time in one.times] or list(pattern.times)
                if not told or len(set(told)) < len(told):
                    raise no_pattern(pattern, "time nor variable")
                return {}, [unexplained_words(pattern)]
    return found, []


def _renamed(sample: ArraySample) -> dict[str, str]:
    """Return the archive's names of a file's dims and coordinates."""
    found = {}
    dims = {dim for var in sample.variables for dim in var.dims}
    for name in sorted(dims | set(sample.axes)):
        axis = sample.axes.get(name)
        standard = axis.attrs.get("standard_name", "") if axis is not None else ""
        plain = name.lower()
        if standard == "latitude" or (not standard and plain in LATITUDES):
            found[name] = "latitude"
        elif standard == "longitude" or (not standard and plain in LONGITUDES):
            found[name] = "longitude"
        else:
            found[name] = python_name(name)
    if sample.time_dim is not None:
        found[sample.time_dim] = "time"
    if len(set(found.values())) < len(found):
        return {name: python_name(name) for name in found} | _time_of(sample)
    return found


def _time_of(sample: ArraySample) -> dict[str, str]:
    return {} if sample.time_dim is None else {sample.time_dim: "time"}


def _coordinates(
    samples: Sequence[ArraySample], renamed: Mapping[str, str]
) -> tuple[dict[str, ArrayAxis], dict[str, ArrayAxis]]:
    """Return labels of dims, and auxiliary coordinates, without those of time."""
    first = samples[0]
    axes: dict[str, ArrayAxis] = {}
    auxiliary: dict[str, ArrayAxis] = {}
    lengths = {d: n for var in first.variables for d, n in zip(var.dims, var.shape, strict=True)}
    for dim, length in lengths.items():
        if dim != first.time_dim:
            axes[renamed[dim]] = first.axes.get(dim) or _numbered(dim, length)
    for name, axis in first.axes.items():
        is_of_time = first.time_dim is not None and first.time_dim in axis.dims
        if name not in lengths and not is_of_time and axis.values.dtype.kind in "iuf":
            dims = tuple(renamed[dim] for dim in axis.dims)
            auxiliary[renamed[name]] = ArrayAxis(
                name=name, dims=dims, values=axis.values, attrs=axis.attrs
            )
    for sample in samples[1:]:
        _check_alike(first, sample)
    return axes, auxiliary


def _numbered(dim: str, length: int) -> ArrayAxis:
    about = {"long_name": f"Number along {dim}", "units": "1"}
    return ArrayAxis(name=dim, dims=(dim,), values=np.arange(length), attrs=about)


def _check_alike(first: ArraySample, other: ArraySample) -> None:
    for name, axis in first.axes.items():
        there = other.axes.get(name)
        is_grid = axis.dims == (name,) and name != first.time_dim
        if is_grid and there is not None and not _same(axis.values, there.values):
            raise ValueError(
                f"{other.sample.name} has another {name} than {first.sample.name}: give samples on "
                "one grid"
            )


def _same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.shape == other.shape and bool(np.array_equal(one, other))


def _positions(cadence: Cadence, samples: Sequence[ArraySample], has_many: bool) -> int:
    """Return how many positions a shard holds: those of a file, or about a month's."""
    longest = max(len(sample.times) for sample in samples)
    if has_many and longest > 1:
        return min(longest, 744)
    return {"D": 30, "MS": 12, "YS": 1, "7D": 4}.get(cadence.alias or "", 24)


def _variables(
    samples: Sequence[ArraySample],
    words: Mapping[str, str],
    renamed: Mapping[str, str],
    positions: int,
    asked: list[Question],
) -> Iterator[ProposedArray]:
    done: set[str] = set()
    for sample in samples:
        for var in sample.variables:
            if var.name in done:
                continue
            done.add(var.name)
            sizes = {"time": LONG} | {
                renamed[dim]: length
                for dim, length in zip(var.dims, var.shape, strict=True)
                if dim != sample.time_dim
            }
            dtype = _dtype(var, asked)
            cut = propose_cut(sizes, "time", positions, np.dtype(dtype).itemsize)
            yield ProposedArray(
                name=python_name(var.name),
                source_name=f"{sample.group}/{var.name}".lstrip("/"),
                source_dims=var.dims,
                dims=tuple(sizes),
                attrs=_attrs(var, asked),
                dtype=dtype,
                chunks=cut.chunks,
                shards=cut.shards,
                word=words.get(var.name),
            )


def _dtype(var: ArrayVariable, asked: list[Question]) -> str:
    """Return a dtype that loses nothing; NaN is what is missing."""
    stored = np.dtype(var.dtype)
    packing = [var.encoding.get(key) for key in ("scale_factor", "add_offset")]
    if any(one is not None for one in packing):
        scale, offset = (one if one is not None else default for one, default in
                         zip(packing, (1.0, 0.0), strict=True))  # fmt: skip
        asked.append(
            Question(
                f"variable {python_name(var.name)}",
                f"{python_name(var.name)}: shall it be packed as in its files?",
                f"they hold {stored.name} with scale_factor={scale!r} and add_offset={offset!r}; "
                "float32 takes more bytes",
                "Encoding(dtype=, scale_factor=, add_offset=, fill_value=)",
            )
        )
        return "float32" if stored.itemsize <= 2 else "float64"
    if stored.kind in "iu" and stored.itemsize > 2:
        return "float64"
    if stored.kind == "f" and stored.itemsize > 4:
        asked.append(
            Question(
                f"variable {python_name(var.name)}",
                f"{python_name(var.name)}: is single precision enough?",
                "its files are in double precision, which takes twice the bytes",
                "how exactly the provider knows it",
            )
        )
        return "float64"
    return "float32"


def _attrs(var: ArrayVariable, asked: list[Question]) -> dict[str, str]:
    given = {**var.encoding, **var.attrs}
    kept = {key: str(given[key]) for key in KEPT_ATTRS if isinstance(given.get(key), str)}
    kept = {key: " ".join(one.split()) for key, one in kept.items() if one.strip()}
    if " " in kept.get("standard_name", ""):  # a description, as CHIRPS has, and no name of CF
        del kept["standard_name"]
    if "units" not in kept:
        asked.append(
            Question(
                f"variable {python_name(var.name)}",
                f"{python_name(var.name)}: what are its units?",
                "its files do not say them",
                "the provider's description of its files",
            )
        )
    return {
        **{"long_name": var.name.replace("_", " ").capitalize(), "units": "1"},
        **kept,
    }


def _more(samples: Sequence[ArraySample]) -> Iterator[Question]:
    if any(sample.is_forecast for sample in samples):
        yield Question(
            "dims",
            "are these forecasts of several starts?",
            "the files have a forecast_reference_time; what is proposed has the dim time alone",
            "Forecasts in the guides: init_time and lead_time",
        )

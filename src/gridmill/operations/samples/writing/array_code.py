"""The module of a dataset of netCDF, HDF5, Zarr or GeoTIFF files, as text."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridmill.authoring.labels import STANDARD_CALENDARS
from gridmill.authoring.scaffold import Names
from gridmill.operations.samples.facts import ArrayAxis
from gridmill.operations.samples.pattern import PathPattern
from gridmill.operations.samples.proposal import ArrayProposal, ProposedArray
from gridmill.operations.samples.writing.code import LINE, Call, Raw, assigned, returned, written
from gridmill.operations.samples.writing.parts import (
    Asked,
    about_attributes,
    credential_lines,
    dataset_class,
    file_attributes,
    has_words,
    import_lines,
    listed,
    listed_times,
    module_intro,
    path_code,
    start_of,
)

__all__ = ["array_module", "array_numbers"]

# Labels that are written out; more are kept in a file.
MOST_WRITTEN = 24
FIRST_AND_LAST = ("    first: pd.Timestamp", "    last: pd.Timestamp")
PLACE = '{"time": slice(self.first, self.last)}'


def array_numbers(proposal: ArrayProposal) -> dict[str, np.ndarray[Any, Any]]:
    """Return the coordinates that the module loads from a file."""
    axes = {n: a.values for n, a in proposal.axes.items() if _label_code(a.values) is None}
    return {**axes, **{name: axis.values for name, axis in proposal.auxiliary.items()}}


def array_module(proposal: ArrayProposal, names: Names) -> str:
    """Return the text of the dataset's module."""
    asked = Asked(proposal.questions)
    parts = [
        _variable_class(proposal, names),
        _template(proposal, names, asked),
        _file(proposal, names, asked),
        _job(proposal, names, asked),
        dataset_class(proposal, names, asked),
    ]
    cells = 'CELLS = np.load(Path(__file__).with_name("cells.npz"))'
    constants = [cells] if array_numbers(proposal) else []
    if proposal.timing.frequency is None:
        constants.append(listed(proposal.timing))
    body = "\n\n\n".join(["\n".join(constants), *parts] if constants else parts)
    intro = module_intro(names)
    gap = "\n\n" if constants else "\n\n\n"
    return f"{intro}\n\n{import_lines(body)}{gap}{body}\n"


def _variable_class(proposal: ArrayProposal, names: Names) -> str:
    lines = [
        "@dataclass(frozen=True, kw_only=True)",
        f"class {names.class_name}Var(DataVar):",
        '    """A variable, and what its files call it."""',
        "",
        "    source_name: str",
    ]
    if has_words(proposal):
        lines.append("    word: str  # in the files' names")
    return "\n".join(lines)


def _template(proposal: ArrayProposal, names: Names, asked: Asked) -> str:
    lines = [
        f"class {names.class_name}Template(TemplateConfig):",
        '    """The archive\'s structure."""',
        "",
        asked.at("dims", "    ") + assigned("dims", proposal.dims, "    "),
        '    append_dim = "time"',
        *start_of(proposal.timing, asked),
        about_attributes(names, asked),
        assigned("coords", _coords(proposal), "    "),
        f"{asked.at('variables', '    ')}    data_vars = (",
    ]
    for var in proposal.variables:
        lines.append(
            f"{asked.at(f'variable {var.name}', ' ' * 8)}        {_variable(proposal, var, names)},"
        )
    lines += ["    )", *_labels(proposal)]
    return "\n".join(lines)


def _coords(proposal: ArrayProposal) -> tuple[Any, ...]:
    coords = [_time(proposal.timing.calendar)]
    coords += [_coordinate(name, axis, None) for name, axis in proposal.axes.items()]
    coords += [_coordinate(name, axis, axis.dims) for name, axis in proposal.auxiliary.items()]
    coords += [
        Call("Coordinate", (), {"name": name, "dims": (), "dtype": "int32", "attrs": dict(attrs)})
        for name, attrs in proposal.mappings.items()
    ]
    return tuple(coords)


def _time(calendar: str) -> Any:
    if calendar in STANDARD_CALENDARS:
        return Raw("TIME")
    named = {
        "name": "time",
        "dtype": "int64",
        "units": "seconds since 1970-01-01",
        "calendar": calendar,
        "attrs": {"standard_name": "time", "long_name": "Time", "axis": "T"},
    }
    return Call("Coordinate", (), named)


def _coordinate(name: str, axis: ArrayAxis, dims: tuple[str, ...] | None) -> Call:
    attrs = {k: v for k, v in axis.attrs.items() if k in ("standard_name", "long_name", "units",
                                                          "axis", "positive")}  # fmt: skip
    if name in ("latitude", "longitude"):
        letter = "north" if name == "latitude" else "east"
        attrs = {"standard_name": name, "units": f"degrees_{letter}", **attrs}
    if not {"standard_name", "long_name", "units"} & set(attrs):
        attrs["long_name"] = name
    named: dict[str, Any] = {"name": name}
    if dims is not None:
        named["dims"] = dims
    kind = axis.values.dtype
    if kind.kind in "iu":
        named["dtype"] = f"int{8 * max(kind.itemsize, 4)}"
    elif kind.itemsize == 4 and dims is not None:
        named["dtype"] = "float32"
    return Call("Coordinate", (), {**named, "attrs": attrs})


def _variable(proposal: ArrayProposal, var: ProposedArray, names: Names) -> str:
    encoding: dict[str, Any] = {"chunks": var.chunks, "shards": var.shards}
    if var.dtype != "float32":
        encoding["dtype"] = var.dtype
    named: dict[str, Any] = {"name": var.name, "source_name": var.source_name}
    if var.word is not None:
        named["word"] = var.word
    if var.dims != proposal.dims:
        named["dims"] = var.dims
    named["encoding"] = Call("Encoding", (), encoding)
    named["attrs"] = dict(var.attrs)
    return written(Call(f"{names.class_name}Var", (), named), " " * 8, 9)


def _labels(proposal: ArrayProposal) -> list[str]:
    lines = []
    if proposal.timing.frequency is None:
        lines += listed_times()
    entries = {n: Raw(_label_code(a.values) or f'CELLS["{n}"]') for n, a in proposal.axes.items()}
    lines += [
        "\n    def dimension_coordinates(self):",
        '        """Return the labels of the grid."""',
        f"        return {written(entries, ' ' * 8, 15)}",
    ]
    derived: dict[str, Any] = {
        name: (axis.dims, Raw(f'CELLS["{name}"]')) for name, axis in proposal.auxiliary.items()
    }
    derived |= {name: ((), Raw("np.int32(0)")) for name in proposal.mappings}
    if derived:
        lines += [
            "\n    def derive_coordinates(self, ds):",
            '        """Return the other coordinates."""',
            f"        return {written(derived, ' ' * 8, 15)}",
        ]
    return lines


def _label_code(values: np.ndarray[Any, Any]) -> str | None:
    """Return short code for labels; None where they have to be kept in a file."""
    if values.dtype.kind in "iu":
        if np.array_equal(values, np.arange(values.size)):
            return f"np.arange({values.size})"
    elif values.size > 2:
        first, last = (round(float(values[at]), 6) for at in (0, -1))
        even = np.linspace(first, last, values.size)
        # Of a step: what is computed in single precision differs by less.
        if np.abs(even - values).max() <= 1e-3 * abs(last - first) / values.size:
            return f"np.linspace({first}, {last}, {values.size})"
    if values.size <= MOST_WRITTEN:
        return f"np.array({values.tolist()})"
    return None


def _file(proposal: ArrayProposal, names: Names, asked: Asked) -> str:
    if _is_store(proposal):
        return _store_region(proposal, names)
    lines = [
        "@dataclass(frozen=True, kw_only=True)",
        f"class {names.class_name}File(SourceFileCoord):",
    ]
    attributes = file_attributes(proposal)
    if proposal.has_many:
        lines += ['    """The file of several times, of which `first` to `last` are wanted."""', ""]
        lines += [*attributes, "    path: str", *FIRST_AND_LAST, ""]
        url, place = "self.path", PLACE
    else:
        lines += ['    """The file of one time."""', "", *attributes, "    time: pd.Timestamp"]
        lines += ["    word: str", ""] if has_words(proposal) else [""]
        _, url = path_code(proposal.pattern, "self.time", "self.word")
        place = '{"time": self.time}'
    lines += [
        "    def get_url(self):",
        '        """Return its path below `source_base`."""',
        asked.at("path", " " * 8) + returned(url, " " * 8),
        "",
        *_out_loc(place),
    ]
    return "\n".join(lines)


def _store_region(proposal: ArrayProposal, names: Names) -> str:
    lines = [
        "@dataclass(frozen=True, kw_only=True)",
        f"class {names.class_name}File(ArrayRegion):",
        '    """The chunks of a store that hold the times from `first` to `last`."""',
        "",
        *FIRST_AND_LAST,
        "",
        "    def labels(self):",
        '        """Return the labels to fetch, by the store\'s dims."""',
        f"        return {PLACE.replace('time', str(proposal.time_dim))}",
        "",
        *_out_loc(PLACE),
    ]
    return "\n".join(lines)


def _out_loc(place: str) -> list[str]:
    return [
        "    def out_loc(self):",
        '        """Return the labels that it fills."""',
        f"        return {place}",
    ]


def _is_store(proposal: ArrayProposal) -> bool:
    return proposal.samples[0].sample.kind == "zarr"


def _job(proposal: ArrayProposal, names: Names, asked: Asked) -> str:
    parent = "ArrayRegionJob" if _is_store(proposal) else "RegionJob"
    lines = [
        f"class {names.class_name}Job({parent}[{names.class_name}Var, {names.class_name}File]):",
        '    """Fills a region from its files."""',
        "",
        f"{asked.at('delay', '    ')}    publication_delay = timedelta(days=1)",
        *credential_lines(proposal),
    ]
    if has_words(proposal):
        lines += [
            "",
            "    def source_groups(self, data_vars):",
            '        """Return the variables by their files: each has its own."""',
            "        words = dict.fromkeys(var.word for var in data_vars)",
            "        return [[var for var in data_vars if var.word == word] for word in words]",
        ]
    lines += [
        "",
        "    def generate_source_file_coords(self, processing_region_ds, data_var_group):",
        '        """Return the files of the region\'s times."""',
        '        times = processing_region_ds.get_index("time")',
        *_files_of(proposal, names),
    ]
    return "\n".join([*lines, "", *_reading(proposal)])


def _files_of(proposal: ArrayProposal, names: Names) -> list[str]:
    file = f"{names.class_name}File"
    if not proposal.has_many:
        word = ", word=data_var_group[0].word" if has_words(proposal) else ""
        return [f"        return [{file}(time=time{word}) for time in times]"]
    what = "store=path, arrays=arrays" if _is_store(proposal) else "path=path"
    arrays = "        arrays = tuple(var.source_name for var in data_var_group)"
    each, loop = (
        f"{file}({what}, first=some[0], last=some[-1])",
        "for path, some in by_path.items()",
    )
    flat = f"        return [{each} {loop}]"
    inside = f"            {each} {loop}"
    divided = [inside] if len(inside) <= LINE else [f"            {each}", f"            {loop}"]
    return [
        *([arrays] if _is_store(proposal) else []),
        f"        by_path = times.groupby(times.strftime({_strftime(proposal.pattern)}))",
        *([flat] if len(flat) <= LINE else ["        return [", *divided, "        ]"]),
    ]


def _strftime(pattern: PathPattern) -> str:
    """Return a path as a format of strftime."""
    text, prefix = "", ""
    for part in pattern.parts:
        if part.kind == "word":
            text, prefix = f"{text}{{data_var_group[0].word}}", "f"
        else:
            text += part.form if part.kind == "time" else part.form.replace("%", "%%")
    return f'{prefix}"{text}"'


def _reading(proposal: ArrayProposal) -> list[str]:
    if _is_store(proposal):
        return _store_reading(proposal)
    head = [
        "    def read_data(self, coord, data_var):",
        '        """Read one variable of a file."""',
    ]
    if proposal.samples[0].sample.kind == "geotiff":
        crs = proposal.samples[0].variables[0].attrs.get("crs")
        named = {} if crs is None else {"crs": crs}
        call = Call("read_geotiff", (Raw("coord.downloaded_path"),), named)
        return [*head, f"        return {written(call, ' ' * 8, 15)}"]
    if not proposal.has_many:
        dim = proposal.time_dim
        index = f', index={{"{dim}": 0}}' if dim is not None else ""
        return [
            *head,
            f"        return read_netcdf(coord.downloaded_path, data_var.source_name{index})",
        ]
    return [*head, *_many_read(proposal)]


def _store_reading(proposal: ArrayProposal) -> list[str]:
    lines = [
        "    def array_name(self, data_var):",
        '        """Return the name of a variable\'s array in the store."""',
        "        return data_var.source_name",
    ]
    if not _has_time_inside(proposal):
        return lines
    return [
        *lines,
        "",
        "    def read_data(self, coord, data_var):",
        '        """Read one variable of a region, time first."""',
        "        with open_region(coord.downloaded_path) as opened:",
        f'            part = opened[[data_var.source_name]].transpose("{proposal.time_dim}", ...)',
        "            return read_xarray(part, data_var.source_name)",
    ]


def _has_time_inside(proposal: ArrayProposal) -> bool:
    """Whether another dim of a variable stands before its time."""
    dim = proposal.time_dim
    return any(var.source_dims.index(dim) for var in proposal.variables if dim in var.source_dims)


def _many_read(proposal: ArrayProposal) -> list[str]:
    group = proposal.samples[0].group
    source = f', group="{group}"' if group else ""
    dim = proposal.time_dim
    name = 'data_var.source_name.rpartition("/")[2]' if group else "data_var.source_name"
    times = "slice(coord.first, coord.last)"
    if proposal.timing.frequency in ("MS", "YS"):
        form = "%Y-%m" if proposal.timing.frequency == "MS" else "%Y"
        times = f'slice(f"{{coord.first:{form}}}", f"{{coord.last:{form}}}")'
    lines = [
        f"        with xr.open_dataset(coord.downloaded_path{source}) as opened:",
        f"            part = opened[[{name}]].sel({dim}={times})",
    ]
    if _has_time_inside(proposal):
        lines.append(f'            part = part.transpose("{dim}", ...)')
    return [*lines, f"            return read_xarray(part, {name})"]

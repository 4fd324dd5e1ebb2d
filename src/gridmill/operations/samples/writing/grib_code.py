"""The module of a dataset of GRIB files, as text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

from gridmill.authoring.cf import WELL_KNOWN
from gridmill.authoring.scaffold import Names
from gridmill.operations.samples.facts import GribField
from gridmill.operations.samples.proposal import GribProposal, ProposedField
from gridmill.operations.samples.writing.code import Call, Raw, assigned, returned, written
from gridmill.operations.samples.writing.grids import GridCode, grid_code
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
from gridmill.sources.grib.inventory.message import Statistic

__all__ = ["grib_arrays", "grib_module"]

HOUR = timedelta(hours=1)
# Until the name of the dataset's class is put in its place.
OWN_VARIABLE = "OwnVar"
METHODS = {
    Statistic.ACCUMULATION: "sum",
    Statistic.AVERAGE: "mean",
    Statistic.MAXIMUM: "maximum",
    Statistic.MINIMUM: "minimum",
    Statistic.STANDARD_DEVIATION: "standard_deviation",
}


def grib_arrays(proposal: GribProposal) -> dict[str, Any]:
    """Return the arrays that the module loads: the places of cells; else none."""
    return grid_code(proposal.grid).arrays


def grib_module(proposal: GribProposal, names: Names) -> str:
    """Return the text of the dataset's module."""
    grid = grid_code(proposal.grid)
    asked = Asked(proposal.questions)
    body = "\n\n\n".join(
        [
            _constants(proposal, grid, asked),
            _template(proposal, names, asked),
            _file(proposal, names, asked),
            _job(proposal, names, asked),
            dataset_class(proposal, names, asked),
        ]
    )
    intro = module_intro(names)
    own = _variable_class(proposal, names)
    text = body.replace(OWN_VARIABLE, f"{names.class_name}Var")
    return f"{intro}\n\n{import_lines(own + body)}\n\n{own}{text}\n"


def _variable_class(proposal: GribProposal, names: Names) -> str:
    if not has_words(proposal):
        return ""
    return (
        "\n@dataclass(frozen=True, kw_only=True)\n"
        f"class {names.class_name}Var(GribVar):\n"
        '    """A variable, and the part of its files\' names that is its own."""\n\n'
        "    word: str\n\n\n"
    )


def _constants(proposal: GribProposal, grid: GridCode, asked: Asked) -> str:
    lines = []
    if grid.arrays:
        lines.append('CELLS = np.load(Path(__file__).with_name("cells.npz"))')
    lines.append(asked.at("grid") + assigned("GRID", grid.code))
    lines.append(assigned("DIMS", proposal.dims))
    lines.append(assigned("ENCODING", _encoding(proposal.chunks, proposal.shards)))
    if proposal.pressures:
        lines.append("# hPa")
        lines.append(assigned("PRESSURES", _numbers(proposal.pressures)))
        lines.append(assigned("LAYERED", _layered(proposal)))
    if proposal.timing.frequency is None:
        lines.append(listed(proposal.timing))
    if proposal.member_words:
        lines.append(assigned("MEMBERS", dict(proposal.member_words)))
    kind = _kind_of_variable(proposal)
    items = "".join(
        f"{asked.at(f'variable {var.name}', '    ')}    {_variable(proposal, var, kind)},\n"
        for var in proposal.variables
    )
    return "\n".join(lines) + f"\n\n{asked.at('variables')}DATA_VARS = (\n{items})"


def _kind_of_variable(proposal: GribProposal) -> str:
    return OWN_VARIABLE if has_words(proposal) else "GribVar"


def _numbers(values: tuple[float, ...]) -> tuple[float | int, ...]:
    return tuple(int(one) if one == int(one) else one for one in values)


def _encoding(chunks: tuple[int, ...], shards: tuple[int, ...]) -> Call:
    return Call("Encoding", (), {"chunks": chunks, "shards": shards})


def _layered(proposal: GribProposal) -> Call:
    """Return the encoding of a variable on several levels, one level a chunk."""
    at = len(proposal.dims) - (1 if proposal.dims[-1] == "cell" else 2)
    chunks = (*proposal.chunks[:at], 1, *proposal.chunks[at:])
    shards = (*proposal.shards[:at], 1, *proposal.shards[at:])
    return _encoding(chunks, shards)


def _variable(proposal: GribProposal, var: ProposedField, kind: str) -> str:
    first, is_layered = var.first, len(var.fields) > 1
    named: dict[str, Any] = {"name": var.name, "parameter": first.parameter}
    if first.codes is not None:
        named["codes"] = (first.codes,)
    elif first.short_name:
        named["short_name"] = first.short_name
    named["levels"] = tuple(_level(field) for field in var.fields)
    if is_layered:
        at = len(proposal.dims) - (1 if proposal.dims[-1] == "cell" else 2)
        named["dims"] = (*proposal.dims[:at], "pressure_level", *proposal.dims[at:])
    if first.statistic is not Statistic.INSTANT:
        named["statistic"] = (
            None if first.statistic is None else Raw(f"Statistic.{first.statistic.name}")
        )
    if var.window is not None:
        named["window"] = _window(var)
    if first.codes is not None and first.member is None:
        named["without_qualifiers"] = ("",)
    named["encoding"] = Raw("LAYERED" if is_layered else "ENCODING")
    named["attrs"] = Call("attributes", (var.name, _method(proposal, var)), _more(var))
    if var.word is not None:
        named["word"] = var.word
    return written(Call(kind, (), named), "    ", 5)


def _more(var: ProposedField) -> dict[str, Any]:
    known = WELL_KNOWN.get(var.name)
    return {
        key: one
        for key, one in var.more.items()
        if one is not None or (known is not None and getattr(known, key, None) is not None)
    }


def _method(proposal: GribProposal, var: ProposedField) -> str:
    dim = "lead_time" if proposal.is_forecast else "time"
    statistic = var.first.statistic
    return f"{dim}: {METHODS.get(statistic, 'point') if statistic is not None else 'point'}"


def _level(field: GribField) -> Call:
    surfaces = [
        Call("Surface", tuple(one)) for one in (field.surface, field.below) if one is not None
    ]
    return Call("Level", (field.level, *surfaces))


def _window(var: ProposedField) -> Call:
    window = var.window
    assert window is not None
    named: dict[str, Any] = {"kind": window.kind}
    if window.reset_every is not None:
        named["reset_every"] = Raw(_duration(window.reset_every))
    if window.as_given:
        named["as_given"] = True
    return Call("Window", (), named)


def _duration(length: timedelta) -> str:
    if length % HOUR == timedelta(0):
        return f"timedelta(hours={length // HOUR})"
    return f"timedelta(minutes={length // timedelta(minutes=1)})"


def _template(proposal: GribProposal, names: Names, asked: Asked) -> str:
    parent = "ForecastTemplate" if proposal.is_forecast else "TemplateConfig"
    title = "Forecasts" if proposal.is_forecast else "Fields"
    lines = [
        f"class {names.class_name}Template({parent}):",
        f'    """{title} of {names.provider} {names.model}."""',
        "",
        "    dims = DIMS",
    ]
    if not proposal.is_forecast:
        lines.append('    append_dim = "time"')
    lines += [*start_of(proposal.timing, asked), about_attributes(names, asked)]
    lines.append("    data_vars = DATA_VARS")
    lines += list(_coordinates(proposal, asked))
    return "\n".join(lines)


def _coordinates(proposal: GribProposal, asked: Asked) -> Iterator[str]:
    more, labels = _more_dims(proposal)
    if proposal.is_forecast:
        yield "    grid = GRID"
        hours = tuple(_numbers(proposal.lead_hours))
        yield asked.at("leads", "    ") + assigned("lead_hours", _leads(hours), "    ")
        if more:
            yield assigned("more_coords", tuple(map(Raw, more)), "    ")
            yield f"    more_labels = {{{', '.join(labels)}}}"
        return
    coords = ", ".join(["TIME", *more, "*GRID.coords"])
    yield f"    coords = ({coords})"
    if proposal.timing.frequency is None:
        yield from listed_times()
    yield "\n    def dimension_coordinates(self):"
    yield '        """Return the labels of the grid."""'
    inside = ", ".join([*labels, "**GRID.labels()"])
    yield f"        return {{{inside}}}" if labels else "        return GRID.labels()"
    yield "\n    def derive_coordinates(self, ds):"
    yield '        """Return the grid\'s places and mapping."""'
    yield "        return GRID.auxiliary()"


def _leads(hours: tuple[float, ...]) -> Any:
    """Write evenly spaced leads as a range."""
    steps = {b - a for a, b in pairwise(hours)}
    if len(hours) > 2 and len(steps) == 1 and all(isinstance(hour, int) for hour in hours):
        step = steps.pop()
        stop = hours[-1] + 1
        return Raw(
            f"range({hours[0]}, {stop}, {step})" if step != 1 else f"range({hours[0]}, {stop})"
        )
    return hours


def _more_dims(proposal: GribProposal) -> tuple[list[str], list[str]]:
    more, labels = [], []
    if proposal.members:
        more.append("ENSEMBLE_MEMBER")
        labels.append(f'"ensemble_member": np.array({list(proposal.members)}, "int32")')
    if proposal.pressures:
        more.append("PRESSURE_LEVEL")
        labels.append('"pressure_level": np.array(PRESSURES, "float64")')
    return more, labels


def _file(proposal: GribProposal, names: Names, asked: Asked) -> str:
    parent = "ForecastFile" if proposal.is_forecast else "AnalysisFile"
    what = "one lead of one forecast" if proposal.is_forecast else "one time"
    lines = [
        "@dataclass(frozen=True, kw_only=True)",
        f"class {names.class_name}File({parent}):",
        f'    """The file of {what}."""',
        "",
        *file_attributes(proposal),
    ]
    if has_words(proposal):
        lines += ['    word: str = ""', ""]
    used, path = path_code(
        proposal.pattern,
        "self.init_time",
        "MEMBERS[self.ensemble_member]" if proposal.member_words else "self.word",
    )
    hours = "hours = self.lead_time // timedelta(hours=1)"
    if any(hour % 1 for hour in proposal.lead_hours):
        hours = "hours = -(-self.lead_time // timedelta(hours=1))"
    lines += [
        "    def get_url(self):",
        '        """Return its path below `source_base`."""',
        *([f"        {hours}"] if "hours" in used else []),
        asked.at("path", " " * 8) + returned(path, " " * 8),
    ]
    return "\n".join(lines)


def _job(proposal: GribProposal, names: Names, asked: Asked) -> str:
    parent = "GribForecastJob" if proposal.is_forecast else "GribAnalysisJob"
    file = f"{names.class_name}File"
    lines = [
        f"class {names.class_name}Job({parent}[{file}]):",
        '    """Reads the messages of GRIB files."""',
        "",
        f"{asked.at('delay', '    ')}    publication_delay = timedelta(days=1)",
        *credential_lines(proposal),
        f"    file_type = {file}",
        "    grid = GRID",
    ]
    if not proposal.is_forecast:
        lines.append("    init_frequency = timedelta(seconds=1)  # a file is of its own time alone")
    lines += ["", *_inventory(proposal)]
    if has_words(proposal):
        lines += ["", *_own_files()]
    return "\n".join(lines).rstrip()


def _inventory(proposal: GribProposal) -> list[str]:
    if proposal.inventory == ".idx":
        return []
    if proposal.inventory is None:
        return [
            "    def inventory_url(self, url):",
            '        """Return None: files are fetched whole. NOAA has f"{url}.idx"."""',
            "        return None",
        ]
    return [
        "    def inventory_url(self, url):",
        '        """Return the file\'s address with .index in place of its suffix."""',
        "        return f\"{url.rpartition('.')[0]}.index\"",
        "",
        "    def inventory_selectors(self, coord, data_var):",
        '        """Leave out what the inventory does not say: statistics, starts of periods."""',
        "        return [",
        "            replace(asked, start_step=None, statistic=None)",
        "            for asked in self.message_selectors(coord, data_var)",
        "        ]",
    ]


def _own_files() -> list[str]:
    return [
        "    def source_groups(self, data_vars):",
        '        """Return the variables by their files: each has its own."""',
        "        groups = []",
        "        for word in dict.fromkeys(var.word for var in data_vars):",
        "            own = [var for var in data_vars if var.word == word]",
        "            groups += super().source_groups(own)",
        "        return groups",
        "",
        "    def generate_source_file_coords(self, processing_region_ds, data_var_group):",
        '        """Return a file for each place, of these variables."""',
        "        files = super().generate_source_file_coords(processing_region_ds, data_var_group)",
        "        return [replace(file, word=data_var_group[0].word) for file in files]",
    ]

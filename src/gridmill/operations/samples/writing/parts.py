"""Parts that modules of every format have: imports, start and step, attributes, addresses."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from gridmill.authoring.labels import STANDARD_CALENDARS
from gridmill.authoring.scaffold import Names
from gridmill.operations.samples.pattern import Part, PathPattern
from gridmill.operations.samples.proposal import (
    ArrayProposal,
    GribProposal,
    Proposal,
    Question,
    Timing,
)
from gridmill.operations.samples.writing.code import Call, asked_lines, assigned
from gridmill.sources.fetch.credentials.rules import Credential

__all__ = [
    "Asked",
    "about_attributes",
    "credential_lines",
    "dataset_class",
    "file_attributes",
    "has_words",
    "import_lines",
    "iso",
    "listed",
    "listed_times",
    "module_intro",
    "path_code",
    "start_of",
]

# Where a name is imported from; those that a text uses are.
STANDARD = {
    "dataclass": "dataclasses", "replace": "dataclasses", "timedelta": "datetime",
    "Path": "pathlib",
}  # fmt: skip
WHOLE = {"np": "import numpy as np", "pd": "import pandas as pd", "xr": "import xarray as xr",
         "cftime": "import cftime"}  # fmt: skip
OURS = {
    **dict.fromkeys(
        ("Coordinate", "DataVar", "DynamicalDataset", "Encoding", "RegionJob", "SourceFileCoord",
         "TemplateConfig", "read_geotiff", "read_netcdf", "read_xarray", "ApiKey", "BearerToken",
         "Login", "S3Access"),
        "gridmill",
    ),
    **dict.fromkeys(
        ("ENSEMBLE_MEMBER", "INIT_TIME", "LEAD_TIME", "PRESSURE_LEVEL", "TIME", "attributes"),
        "gridmill.authoring.cf",
    ),
    **dict.fromkeys(("ForecastFile", "GribForecastJob"), "gridmill.authoring.forecasts.job"),
    **dict.fromkeys(("AnalysisFile", "GribAnalysisJob"), "gridmill.authoring.forecasts.analysis"),
    "ForecastTemplate": "gridmill.authoring.forecasts.template",
    **dict.fromkeys(("GribVar", "Level", "Window"), "gridmill.authoring.forecasts.variables"),
    **dict.fromkeys(
        ("EARTH_RADIUS", "CellGrid", "GaussianGrid", "LatitudeLongitudeGrid", "ProjectedGrid",
         "RegionalGrid", "RotatedGaussianGrid", "RotatedGrid", "SatelliteGrid"),
        "gridmill.authoring.grids",
    ),
    **dict.fromkeys(
        ("ArrayRegion", "ArrayRegionJob", "open_region"), "gridmill.authoring.sources.arrays"
    ),
    "Surface": "gridmill.sources.grib.identity",
    "Statistic": "gridmill.sources.grib.inventory.message",
}  # fmt: skip


class Asked:
    """Questions as comments, at their places."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._at: defaultdict[str, list[str]] = defaultdict(list)
        for one in questions:
            self._at[one.at].append(f"{one.text} ({one.why}.)")

    def at(self, place: str, indent: str = "") -> str:
        """Return the comments of a place, a line each; nothing for none."""
        return asked_lines(self._at.get(place, ()), indent)


def module_intro(names: Names) -> str:
    """Return the docstring of a dataset's module."""
    what = "its structure, its source files, and how one is read"
    return f'"""{names.provider} {names.model}: {what}."""'


def import_lines(body: str) -> str:
    """Return the imports that a text needs, sorted as ruff does."""
    used = set(re.findall(r"\b[A-Za-z_]\w*\b", re.sub(r'"(?:[^"\\]|\\.)*"', "", body)))
    standard = _from_lines({n: m for n, m in STANDARD.items() if n in used})
    whole = [line for name, line in WHOLE.items() if name in used]
    ours = _from_lines({n: m for n, m in OURS.items() if n in used})
    blocks = ["from __future__ import annotations", *(
        "\n".join(lines) for lines in (standard, [*whole, *ours]) if lines
    )]  # fmt: skip
    return "\n\n".join(blocks)


def _from_lines(modules: dict[str, str]) -> list[str]:
    by_module: defaultdict[str, list[str]] = defaultdict(list)
    for name, module in modules.items():
        by_module[module].append(name)
    lines = []
    for module in sorted(by_module):
        names = sorted(by_module[module], key=_rank)
        line = f"from {module} import {', '.join(names)}"
        if len(line) > 88:
            line = f"from {module} import (\n" + "".join(f"    {n},\n" for n in names) + ")"
        lines.append(line)
    return lines


def _rank(name: str) -> tuple[int, str]:
    """Sort constants before classes, and those before functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def start_of(timing: Timing, asked: Asked) -> list[str]:
    """Return where the append dim starts and how it goes on."""
    start = iso(timing.labels[0]).removesuffix("T00:00:00")
    lines = [asked.at("start", "    ") + assigned("append_dim_start", start, "    ")]
    asks = asked.at("frequency", "    ")
    if timing.frequency is not None:
        lines.append(asks + assigned("append_dim_frequency", timing.frequency, "    "))
    else:
        lines.append(f"{asks}    append_dim_frequency = None")
    if timing.calendar not in STANDARD_CALENDARS:
        lines.append(assigned("calendar", timing.calendar, "    "))
    return lines


def listed(timing: Timing) -> str:
    """Return irregular times as a constant."""
    if timing.calendar in STANDARD_CALENDARS:
        shown = [iso(time) for time in timing.labels]
        return assigned("TIMES", Call("pd.DatetimeIndex", (shown,)))
    named = {"calendar": timing.calendar}
    labels = [Call("cftime.datetime", tuple(time.timetuple()[:6]), named) for time in timing.labels]
    return assigned("TIMES", Call("xr.CFTimeIndex", (labels,)))


def listed_times() -> list[str]:
    """Return the method that gives irregular times."""
    return [
        "\n    def append_dim_coordinates(self, end):",
        '        """Return the times before `end`."""',
        "        return TIMES[TIMES < self.label(end)]",
    ]


def iso(time: Any) -> str:
    """Return a label, of whichever calendar, in ISO 8601."""
    return str(time.strftime("%Y-%m-%dT%H:%M:%S"))


def has_words(proposal: GribProposal | ArrayProposal) -> bool:
    """Whether files are of single variables, which their names tell apart."""
    return any(var.word is not None for var in proposal.variables)


def dataset_class(proposal: Proposal, names: Names, asked: Asked) -> str:
    """Return the class that ties template and job together."""
    base = assigned("source_base", proposal.pattern.base or ".", "    ")
    return "\n".join(
        [
            f"class {names.class_name}(DynamicalDataset):",
            f'    """{names.provider} {names.model}."""',
            "",
            f"    template_config = {names.class_name}Template",
            f"    region_job = {names.class_name}Job",
            asked.at("base", "    ") + base,
        ]
    )


def about_attributes(names: Names, asked: Asked) -> str:
    """Return the dataset's attributes."""
    about = {
        "dataset_id": names.dataset_id,
        "title": f"{names.provider} {names.model}",
        "Conventions": "CF-1.11",
    }
    return asked.at("about", "    ") + assigned("dataset_attributes", about, "    ")


def credential_lines(proposal: Proposal) -> list[str]:
    """Return what a job declares of credentials: where each is read, and never what it is."""
    if not proposal.credentials:
        return []
    calls = tuple(map(_credential, proposal.credentials))
    return [assigned("credentials", calls, "    ")]


def _credential(rule: Credential) -> Call:
    named = {one.name: getattr(rule, one.name) for one in fields(rule) if one.name != "host"}
    given = {name: value for name, value in named.items() if value not in (None, False)}
    return Call(type(rule).__name__, (rule.host,), given)


def file_attributes(proposal: Proposal) -> list[str]:
    """Return how files are wrapped, where their names do not say it."""
    if proposal.compression == "by name":
        return []
    lines = [assigned("compression", proposal.compression, "    "), ""]
    if proposal.member is not None:
        lines += [
            "    def get_member(self):",
            '        """Return which file of the archive file it is."""',
            f'        return "*{_suffix(proposal.member)}"',
            "",
        ]
    return lines


def _suffix(name: str) -> str:
    return f".{name.rpartition('.')[2]}" if "." in name else ""


def path_code(pattern: PathPattern, time: str, word: str) -> tuple[set[str], str]:
    """Return an expression for a path, and the names that it uses.

    Examples
    --------
    >>> path_code(PathPattern("", (Part("time", "%Y"), Part("text", ".nc"))), "self.time", "")
    ({'self.time'}, 'f"{self.time:%Y}.nc"')
    """
    used: set[str] = set()
    text, parts = "", list(pattern.parts)
    while parts:
        run: list[Part] = []
        while parts and (parts[0].kind == "time" or (run and _joins(parts))):
            run.append(parts.pop(0))
        if run:
            used.add(time)
            text += f"{{{time}:{''.join(one.form for one in run)}}}"
            continue
        part = parts.pop(0)
        name, piece = _piece(part, word)
        used |= {name} - {""}
        text += piece
    quoted = text if '"' not in text else text.replace('"', '\\"')
    return used, f'{"f" if used else ""}"{quoted}"'


def _joins(parts: Sequence[Part]) -> bool:
    """Whether a separator stands between two times: they are one format then."""
    return (
        len(parts) > 1
        and parts[0].kind == "text"
        and len(parts[0].form) == 1
        and parts[0].form in "/-_."
        and parts[1].kind == "time"
    )


def _piece(part: Part, word: str) -> tuple[str, str]:
    if part.kind == "text":
        return "", part.form.replace("{", "{{").replace("}", "}}")
    if part.kind == "word":
        return word, f"{{{word}}}"
    name = "hours" if part.kind == "lead" else "self.ensemble_member"
    width = "" if part.form == "0" else f":0{part.form}d"
    return name, f"{{{name}{width}}}"

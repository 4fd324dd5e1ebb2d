"""Templates, plans, archives and run reports as plain values for JSON, and as text for people.

Each ``*_content`` gives a dict that `json.dumps` takes; each ``show_*`` turns such a dict into
something that rich prints. So the two can never disagree.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gridmill.wording import count_of, format_duration, format_nbytes, shorten_label

if TYPE_CHECKING:
    from gridmill.dataset import ArchiveStatus, DynamicalDataset, Plan
    from gridmill.plan import PreparedRegion
    from gridmill.registry import DatasetEntry
    from gridmill.run_report import RunReport
    from gridmill.template import TemplateConfig
    from gridmill.variables import Coordinate, DataVar, Encoding

__all__ = [
    "count_of",
    "entry_content",
    "format_duration",
    "format_nbytes",
    "plan_content",
    "report_content",
    "shorten_label",
    "show_entries",
    "show_plan",
    "show_report",
    "show_status",
    "show_template",
    "status_content",
    "template_content",
]

Content = dict[str, Any]

# What fits on a screen beside a summary; ``--json`` has all of them.
MOST_REGIONS_SHOWN = 20
MOST_PROBLEMS_SHOWN = 10


# -- registered datasets ----------------------------------------------------------------------


def entry_content(entry: DatasetEntry, *, details: bool) -> Content:
    """Say where a dataset is, and with `details` what it is, or why it cannot be imported."""
    content: Content = {"name": entry.name, "target": entry.target, "package": entry.package}
    if not details:
        return content
    try:
        config = entry.load().template_config()
    # One that cannot be imported, or contradicts itself, shows as what it is.
    except Exception as error:
        return {**content, "error": " ".join(str(error).split())}
    return {
        **content,
        "title": str(config.dataset_attributes["title"]),
        "append_dim": config.append_dim,
        "append_dim_start": config.append_dim_start,
        "append_dim_frequency": config.append_dim_frequency,
        "data_vars": [var.name for var in config.data_vars],
    }


def show_entries(entries: Sequence[Content]) -> RenderableType:
    """Show the registered datasets, a row each."""
    if not entries:
        return Text("No package registers a dataset (entry-point group gridmill.datasets).")
    table = _table("dataset", "defined in" if _are_brief(entries) else "what it is", "package")
    for entry in entries:
        table.add_row(Text(entry["name"], "bold"), _describe_entry(entry), entry["package"])
    return table


def _are_brief(entries: Sequence[Content]) -> bool:
    return not any("title" in entry or "error" in entry for entry in entries)


def _describe_entry(entry: Content) -> Text:
    if "error" in entry:
        return Text(f"error: {entry['error']}", "red")
    if "title" not in entry:
        return Text(entry["target"])
    text = Text(entry["title"])
    step = f" every {entry['append_dim_frequency']}" if entry["append_dim_frequency"] else ""
    since = f"{entry['append_dim']}{step} from {entry['append_dim_start']}"
    text.append(f"\n{since} · {count_of(len(entry['data_vars']), 'variable')}", "dim")
    return text


# -- template ---------------------------------------------------------------------------------


def template_content(config: TemplateConfig, until: Any) -> Content:
    """Describe the structure of a dataset up to a label of its append dim.

    Raises
    ------
    ValueError
        `until` is not a date, or beyond the append dim's capacity.
    """
    ds = config.get_template(until)
    sizes = {str(dim): int(length) for dim, length in ds.sizes.items()}
    lengths = {**sizes, config.append_dim: config.capacity}
    index = ds.get_index(config.append_dim)
    return {
        "dataset_id": config.dataset_id,
        "append_dim": config.append_dim,
        "append_dim_start": config.append_dim_start,
        "append_dim_frequency": config.append_dim_frequency,
        "append_dim_capacity": config.capacity,
        "first": str(index[0]) if len(index) else None,
        "last": str(index[-1]) if len(index) else None,
        "dims": sizes,
        "region_length": config.region_length,
        "regions": math.ceil(sizes[config.append_dim] / config.region_length),
        "attributes": _plain(config.dataset_attributes),
        "coords": [_coord_content(coord, lengths) for coord in config.coords],
        "data_vars": [_data_var_content(var, sizes) for var in config.data_vars],
    }


def _coord_content(coord: Coordinate, lengths: Mapping[str, int]) -> Content:
    encoding = coord.encoding(lengths)
    times = {"units": coord.units, "calendar": coord.calendar}
    return {
        "name": coord.name,
        "dims": list(coord.own_dims),
        **_encoding_content(encoding),
        "attrs": _plain({**coord.attrs, **{k: v for k, v in times.items() if v is not None}}),
    }


def _data_var_content(var: DataVar, sizes: Mapping[str, int]) -> Content:
    return {
        "name": var.name,
        "dims": list(var.dims),
        "shape": [sizes[dim] for dim in var.dims],
        **_encoding_content(var.encoding),
        "keep_mantissa_bits": var.keep_mantissa_bits,
        "valid_until": var.valid_until,
        "attrs": _plain(var.attrs),
    }


def _encoding_content(encoding: Encoding) -> Content:
    import numpy as np

    itemsize = np.dtype(encoding.dtype).itemsize
    return {
        "dtype": encoding.dtype,
        "fill_value": _plain(encoding.fill),
        "chunks": list(encoding.chunks),
        "shards": None if encoding.shards is None else list(encoding.shards),
        "codecs": _plain(encoding.to_xarray()["compressors"]),
        "chunk_nbytes": math.prod(encoding.chunks) * itemsize,
        "object_nbytes": math.prod(encoding.object_shape) * itemsize,
    }


def show_template(content: Content) -> RenderableType:
    """Show a structure: dims, coordinates, variables and how each is stored."""
    return Group(
        _heading(content["dataset_id"], content["attributes"].get("title", "")),
        _facts(_template_facts(content)),
        _section("variables", _variables_table(content["data_vars"])),
        _section("coordinates", _coords_table(content["coords"])),
        _section("attributes", _facts(_texts(content["attributes"]))),
    )


def _template_facts(content: Content) -> dict[str, str]:
    dim = content["append_dim"]
    sizes = (f"{name} {length:,}" for name, length in content["dims"].items())
    step = content["append_dim_frequency"]
    span = f"from {content['append_dim_start']}"
    if content["first"]:
        span = f"{shorten_label(content['first'])} … {shorten_label(content['last'])}"
    return {
        "dims": " · ".join(sizes),
        dim: span + (f", every {step}" if step else ""),
        "grows": f"along {dim}, with room for {content['append_dim_capacity']:,} positions",
        "region": f"{content['region_length']:,} positions along {dim}: "
        f"{count_of(content['regions'], 'region')} so far",
    }


def _variables_table(data_vars: Iterable[Content]) -> Table:
    table = _table("name", "dims", "chunk", "shard", "stored as", "attributes")
    for var in data_vars:
        table.add_row(
            Text(var["name"], "bold"),
            "\n".join(var["dims"]) or "–",
            _lengths(var["chunks"], var["chunk_nbytes"]),
            "–" if var["shards"] is None else _lengths(var["shards"], var["object_nbytes"]),
            _stored_as(var),
            _attributes(var["attrs"]),
        )
    return table


def _coords_table(coords: Iterable[Content]) -> Table:
    table = _table("name", "dims", "chunk", "stored as", "attributes")
    for coord in coords:
        table.add_row(
            Text(coord["name"], "bold"),
            " ".join(coord["dims"]) or "–",
            " × ".join(f"{n:,}" for n in coord["chunks"]) or "–",
            _stored_as(coord),
            _attributes(coord["attrs"]),
        )
    return table


def _lengths(lengths: Sequence[int], nbytes: int) -> Text:
    text = Text("\n".join(f"{length:,}" for length in lengths))
    return text.append(f"\n{format_nbytes(nbytes)}", "dim")


def _stored_as(array: Content) -> Text:
    lines = [_codec_name(codec) for codec in array["codecs"]]
    if array.get("keep_mantissa_bits") is not None:
        lines.append(f"{array['keep_mantissa_bits']} bits of mantissa")
    if array.get("valid_until") is not None:
        lines.append(f"until {array['valid_until']}")
    return Text(f"{array['dtype']}").append("".join(f"\n{line}" for line in lines), "dim")


def _codec_name(codec: Content) -> str:
    """Name a codec with what matters of its settings.

    Examples
    --------
    >>> _codec_name({"name": "zstd", "configuration": {"level": 3, "checksum": False}})
    'zstd-3'
    >>> blosc = {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle"}
    >>> _codec_name({"name": "blosc", "configuration": blosc})
    'blosc zstd-3 bitshuffle'
    """
    name, settings = codec["name"], codec.get("configuration", {})
    if name == "blosc":
        return f"blosc {settings.get('cname')}-{settings.get('clevel')} {settings.get('shuffle')}"
    return f"{name}-{settings['level']}" if "level" in settings else str(name)


def _attributes(attrs: Mapping[str, Any]) -> Text:
    text = Text()
    for key, value in attrs.items():
        text.append(("\n" if text else "") + f"{key}: ", "dim").append(str(value))
    return text


# -- plan -------------------------------------------------------------------------------------


def plan_content(plan: Plan) -> Content:
    """Say what a run would do, in all and region by region."""
    regions: list[Content] = []

    def prepare(job: Any) -> PreparedRegion:
        prepared = plan.prepare(job)
        regions.append(_region_content(prepared))
        return prepared

    summary = replace(plan, prepare=prepare).summary()
    return {
        "dataset_id": plan.dataset_id,
        "store": _masked(plan.store),
        **summary,
        "regions": regions,
    }


def _region_content(prepared: PreparedRegion) -> Content:
    job = prepared.job
    index = job.template_ds.get_index(job.append_dim)
    return {
        "first": None if job.is_static else str(index[job.region.start]),
        "last": None if job.is_static else str(index[job.region.stop - 1]),
        "start": job.region.start,
        "stop": job.region.stop,
        "variables": [var.name for var in job.data_vars],
        "todo": prepared.todo,
        "source_files": prepared.n_files,
    }


def show_plan(content: Content) -> RenderableType:
    """Show what a run would do."""
    to_do = content["region_jobs_to_do"]
    skipped = content["region_jobs"] - to_do
    if not to_do:
        done = f"all of {count_of(skipped, 'region')} done" if skipped else "no region is due"
        return Group(
            _heading(content["dataset_id"], content["store"]),
            _facts({"to do": f"nothing: {done}"}),
        )
    facts = {
        "to do": f"{count_of(to_do, 'region')}"
        + (f", {skipped:,} already done" if skipped else "")
        + f"; {count_of(content['chains'], 'chain')} (one a variable and region)",
        "source files": f"{content['source_files']:,}",
        "values": f"{format_nbytes(content['raw_nbytes'])} uncompressed",
        "memory": f"{format_nbytes(content['memory_nbytes_per_worker'])} a worker, for the largest "
        "variable of a region",
        "tmp disk": f"{format_nbytes(content['tmp_disk_nbytes_per_chain'])} a chain, at most",
    }
    return Group(
        _heading(content["dataset_id"], content["store"]),
        _facts(facts),
        _section("regions to do", _regions_table(content["regions"])),
    )


def _regions_table(regions: Sequence[Content]) -> Table:
    table = _table("region", "positions", "variables", "files", "why")
    for region in _ends_of([region for region in regions if region["todo"]]):
        if isinstance(region, str):
            table.add_row(Text(region, "dim"), "", "", "", "")
        else:
            _add_region(table, region)
    return table


def _ends_of(items: Sequence[Any]) -> list[Any]:
    """Give the first and the last of many items, with a remark between them."""
    half = MOST_REGIONS_SHOWN // 2
    if len(items) <= MOST_REGIONS_SHOWN:
        return list(items)
    return [*items[:half], f"… {len(items) - 2 * half:,} more", *items[-half:]]


def _add_region(table: Table, region: Content) -> None:
    is_static = region["first"] is None
    ends = () if is_static else (shorten_label(region["first"]), shorten_label(region["last"]))
    todo = region["todo"]
    reasons = Counter(todo.values())
    why = "; ".join(
        reason if n == len(todo) else f"{reason} ({count_of(n, 'variable')})"
        for reason, n in reasons.items()
    )
    table.add_row(
        "static" if is_static else " … ".join(dict.fromkeys(ends)),
        "–" if is_static else f"{region['stop'] - region['start']:,}",
        f"{len(todo)} of {len(region['variables'])}",
        f"{region['source_files']:,}",
        why,
    )


# -- archive ----------------------------------------------------------------------------------


def status_content(status: ArchiveStatus) -> Content:
    """Say what an archive holds."""
    return {**_plain(asdict(status)), "store": _masked(status.store)}


def show_status(content: Content) -> RenderableType:
    """Show what an archive holds, what may still change, and its last run."""
    unsettled = content["unsettled"]
    settled = content["regions"] - len(unsettled)
    facts: dict[str, Any] = {
        "published": _extent(content),
        "regions": f"{count_of(content['regions'], 'region')} recorded, {settled:,} settled",
        "last run": _describe_run(content["last_run"]),
    }
    for claim in content["running"]:
        facts["held by"] = (
            f"{claim['kind']} {claim['run']} (host {claim['host']}, pid {claim['pid']}) since "
            f"{_moment(claim['since'])}"
        )
    parts: list[RenderableType] = [_heading(content["dataset_id"], content["store"]), _facts(facts)]
    if unsettled:
        table = _table("region", "may still change because")
        for item in _ends_of(list(unsettled.items())):
            region, why = (item, "") if isinstance(item, str) else item
            table.add_row(shorten_label(region), why)
        parts.append(_section("not settled", table))
    return Group(*parts)


def _extent(content: Content) -> Text:
    if not content["positions"]:
        return Text("nothing yet", "yellow")
    ends = f"{shorten_label(content['first'])} … {shorten_label(content['last'])}"
    return Text(ends, "green").append(f"  {count_of(content['positions'], 'position')}", "dim")


def _describe_run(run: Mapping[str, Any] | None) -> Text:
    if run is None:
        return Text("none is recorded", "dim")
    outcome = ("succeeded", "green") if run.get("succeeded") else ("failed", "red")
    text = Text.assemble(f"{run['kind']} ", outcome, f", ended {_moment(run['ended'])}")
    return text.append(f"  {run['run']}", "dim")


def _moment(text: str) -> str:
    return f"{text[:19].replace('T', ' ')} UTC"


# -- run --------------------------------------------------------------------------------------


def report_content(report: RunReport, dataset: DynamicalDataset, exit_code: int) -> Content:
    """Say what a run did, without the spans, which are in the report beside the records."""
    content = {key: value for key, value in report.to_dict().items() if key != "spans"}
    return {
        **content,
        "store": _masked(dataset.store.url),
        "throughput": report.throughput(),
        "report": f"{_masked(dataset.store.state.url)}/runs/{report.run}.json",
        "exit_code": int(exit_code),
    }


def show_report(content: Content, verdict: Text) -> RenderableType:
    """Show what a run did.

    Parameters
    ----------
    content
        See `report_content`.
    verdict
        One line that says how it ended.
    """
    failures = [_failure_line(failure) for failure in content["failures"][:MOST_PROBLEMS_SHOWN]]
    lines = [*failures, *_more(len(content["failures"]), "failure"), *_problem_lines(content)]
    return Group(verdict, _facts(_report_facts(content)), *lines)


def _report_facts(content: Content) -> dict[str, Any]:
    files = sorted(content["files"].items(), key=lambda item: -item[1])
    facts = {
        "regions": f"{content['regions_done']:,} done · {content['regions_skipped']:,} skipped · "
        f"{content['regions_failed']:,} failed",
        "files": " · ".join(f"{n:,} {status}" for status, n in files),
        "bytes": _describe_bytes(content),
        "stages": _describe_throughput(content),
        "overlap": _describe_overlap(content),
        "published": _describe_publication(content),
        "stops at": content["stops_because"],
        "report": content["report"],
    }
    return {name: fact for name, fact in facts.items() if fact}


def _describe_bytes(content: Content) -> str:
    downloaded, uploaded, healed = (
        content[f"nbytes_{name}"] for name in ("downloaded", "uploaded", "healed")
    )
    if not downloaded and not uploaded:
        return ""
    again = f" · {format_nbytes(healed)} fetched again" if healed else ""
    return f"{format_nbytes(downloaded)} downloaded · {format_nbytes(uploaded)} uploaded{again}"


def _describe_throughput(content: Content) -> str:
    return " · ".join(
        f"{stage} {format_nbytes(speed)}/s" for stage, speed in content["throughput"].items()
    )


def _describe_overlap(content: Content) -> str:
    overlap = content["overlap"]
    if not overlap["busy_s"]:
        return ""
    busy = format_duration(overlap["busy_s"])
    return f"of {busy} busy, two stages at once {overlap['two']:.0%}, three {overlap['three']:.0%}"


def _describe_publication(content: Content) -> str:
    before, after = content["published_before"], content["published_after"]
    total = count_of(content["positions_after"], "position")
    if after is None:
        return "nothing yet"
    if content["positions_after"] == content["positions_before"]:
        return f"up to {shorten_label(after)}, as before ({total})"
    since = "nothing" if before is None else shorten_label(before)
    return f"{since} → {shorten_label(after)} ({total})"


def _failure_line(failure: Mapping[str, str]) -> Text:
    where = f"region {shorten_label(failure['region'])}, {failure['variable']}"
    return Text.assemble(("✗ ", "red"), where, ": ", " ".join(failure["cause"].split()))


def _problem_lines(content: Content) -> list[Text]:
    """List source files that failed, each once; those not available yet are no failure."""
    found: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for problem in content["problems"]:
        if not problem["status"].startswith("not yet"):
            found.setdefault((problem["region"], problem["url"]), []).append(problem)
    lines = [_problem_line(problems) for problems in list(found.values())[:MOST_PROBLEMS_SHOWN]]
    return [*lines, *_more(len(found), "source file")]


def _problem_line(problems: Sequence[Mapping[str, str]]) -> Text:
    first = problems[0]
    what = first["status"] + "".join(
        f", {problem['status'].removeprefix('read failed for ')}" for problem in problems[1:]
    )
    where = f"region {shorten_label(first['region'])}, {first['url']}: "
    why = " ".join(first["detail"].split())
    return Text.assemble(("✗ ", "red"), where, what, f" ({why})" if why else "")


def _more(number: int, noun: str) -> list[Text]:
    hidden = number - MOST_PROBLEMS_SHOWN
    return [Text(f"✗ {count_of(hidden, noun)} more in the report", "red")] if hidden > 0 else []


# -- layout -----------------------------------------------------------------------------------


def _heading(name: str, about: str) -> Text:
    return Text.assemble((name, "bold"), "  ", (about, "dim"))


def _facts(facts: Mapping[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in facts.items():
        grid.add_row(f"  {name}", fact if isinstance(fact, Text) else Text(str(fact)))
    return grid


def _section(name: str, body: RenderableType) -> RenderableType:
    return Padding(Group(Text(name, "bold"), body), (1, 0, 0, 0))


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=True)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in values.items()}


def _masked(url: str) -> str:
    from gridmill.sources.download import mask_url

    return mask_url(url)


def _plain(value: Any) -> Any:
    """Give a value that strict JSON can hold; NaN and infinities by their Zarr names.

    Examples
    --------
    >>> _plain({"fill_value": float("nan"), "levels": (1, 2)})
    {'fill_value': 'NaN', 'levels': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value if isinstance(value, str | int | float | bool | None) else str(value)

"""A page for each built-in dataset, made from its own declaration."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from gridmill import DataVar, DynamicalDataset

__all__ = ["page_of"]

_FACTS = {"institution": "Institution", "source": "Source", "license": "Licence"}


def page_of(name: str, dataset: type[DynamicalDataset]) -> str:
    """Return the Markdown page of a dataset.

    Parameters
    ----------
    name
        Its registered name.
    dataset
        Its class.
    """
    template = dataset.template_config()
    attributes = template.dataset_attributes
    parts = [
        f"# {attributes['title']}",
        _about(dataset),
        _table(("", ""), _facts(name, dataset)),
        "## Build it",
        _commands(name, dataset),
        "## Dimensions",
        _table(("dimension", "length", "first", "last"), _dims(template)),
        "## Variables",
        _table(("variable", "description", "units", "chunks", "shards"), _variables(template)),
    ]
    return "\n\n".join(parts) + "\n"


def _about(dataset: type[DynamicalDataset]) -> str:
    """Return what the module says, or the class where its module has several datasets."""
    text = inspect.getdoc(sys.modules[dataset.__module__]) or ""
    _, _, rest = text.partition("\n\n")
    return "\n\n".join(part for part in (inspect.getdoc(dataset), rest.strip()) if part)


def _facts(name: str, dataset: type[DynamicalDataset]) -> Iterable[tuple[str, str]]:
    template = dataset.template_config()
    yield "Name", f"`{name}`"
    yield "Class", f"`{dataset.__module__}.{dataset.__name__}`"
    for attribute, label in _FACTS.items():
        if value := template.dataset_attributes.get(attribute):
            yield label, _linked(str(value))
    yield "Grows along", f"`{template.append_dim}`"
    if dataset.verified is None:
        yield "Compared with", "**unverified**: nothing, so far, of the provider's own files"
    elif dataset.verified:
        yield "Compared with", dataset.verified


def _linked(text: str) -> str:
    return " ".join(f"<{word}>" if word.startswith("https://") else word for word in text.split())


def _commands(name: str, dataset: type[DynamicalDataset]) -> str:
    source = "" if dataset.source_base else " --source-base URL"
    return (
        "```console\n"
        f"$ gridmill plan {name} --until {_second_month(dataset)} --store {name}.zarr{source}\n"
        f"$ gridmill backfill {name} --until {_second_month(dataset)} --store {name}.zarr{source}\n"
        f"$ gridmill update {name} --store {name}.zarr{source}\n"
        "```"
    )


def _second_month(dataset: type[DynamicalDataset]) -> str:
    """Return a label a little after the beginning, as a user would type it."""
    template = dataset.template_config()
    start = str(template.append_dim_start)
    year, month = int(start[:4]), int(start[5:7])
    year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return f"{year}-{month:02d}"


def _dims(template: Any) -> Iterable[tuple[str, ...]]:
    yield (f"`{template.append_dim}`", "grows", f"{template.append_dim_start}", "–")
    for dim, labels in template.dimension_coordinates().items():
        ends = (_label(labels[0]), _label(labels[-1])) if len(labels) else ("–", "–")
        yield (f"`{dim}`", str(len(labels)), *ends)


def _label(label: Any) -> str:
    if isinstance(label, pd.Timedelta | np.timedelta64):
        return f"{pd.Timedelta(label) / pd.Timedelta('1h'):g} h"
    return f"{label:.8g}" if isinstance(label, float) else str(label)


def _variables(template: Any) -> Iterable[tuple[str, ...]]:
    for variable in template.data_vars:
        yield (
            f"`{variable.name}`",
            str(variable.attrs.get("long_name", "")) + _years(variable),
            f"`{variable.attrs['units']}`" if "units" in variable.attrs else "",
            _lengths(variable.encoding.chunks),
            _lengths(variable.encoding.shards or variable.encoding.chunks),
        )


def _years(variable: DataVar) -> str:
    since = f", from {variable.valid_from}" if variable.valid_from else ""
    until = f", until {variable.valid_until}" if variable.valid_until else ""
    return since + until


def _lengths(lengths: Iterable[int]) -> str:
    return " × ".join(str(length) for length in lengths)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""The page of a validation: verdict, findings and pictures, in one file that needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import xarray as xr
from markupsafe import Markup

from gridmill.html import badge, details, facts, page, section, table
from gridmill.validation.context import Context
from gridmill.validation.findings import Finding, Validation
from gridmill.validation.values import range_of
from gridmill.wording import count_of, format_duration, moment

__all__ = ["validation_page"]

# Beyond, a page would be slow to make and to read.
MOST_VARIABLES_DRAWN = 40
NEEDED = ("matplotlib", "cmcrameri")


def validation_page(
    context: Context, validation: Validation, reference: xr.Dataset | None = None
) -> str:
    """Give the page of a validation.

    Parameters
    ----------
    context
        What was looked at; its statistics are computed where no validator asked for them.
    validation
        What was found.
    reference
        A dataset whose variables of the same name, or standard name, stand beside the archive's.

    Raises
    ------
    ValueError
        matplotlib or cmcrameri is not installed.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        named = " and ".join(missing)
        raise ValueError(f"pictures need {named}: pip install 'gridmill[validate]'")
    opens = not validation.found_by.get("opens")
    parts = [
        facts(_facts(context, validation)),
        _findings(validation),
        *(_pictures(context, reference) if opens else ()),
        _checks(validation),
    ]
    return page(f"{validation.dataset_id}: is it right?", _about(validation), *parts)


def _about(validation: Validation) -> Markup:
    errors = sum(finding.severity == "error" for finding in validation.findings)
    warnings = len(validation.findings) - errors
    if errors:
        verdict = badge(count_of(errors, "error"), "bad")
    elif warnings:
        verdict = badge(count_of(warnings, "warning"), "warning")
    else:
        verdict = badge("nothing found", "good")
    return Markup("{} &ensp;{}").format(verdict, validation.store)


def _facts(context: Context, validation: Validation) -> dict[str, object]:
    said: dict[str, object] = {"looked at": moment(validation.at)}
    if not validation.found_by.get("opens") and context.published:
        at = context.positions
        ends = f"{context.label(at.start)} … {context.label(at.stop - 1)}"
        said["positions"] = f"{ends}  ({count_of(at.stop - at.start, 'position')})"
        said["variables"] = str(len(context.variables))
    said["only"] = validation.selection
    return said


def _findings(validation: Validation) -> Markup:
    if not validation.findings:
        return Markup()
    rows = [_finding_row(finding) for finding in validation.findings]
    return section("Findings", table(("", "where", "what", "the command that repairs it"), rows))


def _finding_row(finding: Finding) -> tuple[object, ...]:
    verdict = badge(finding.severity, "bad" if finding.severity == "error" else "warning")
    command = Markup("<code>{}</code>").format(finding.repair) if finding.repair else "–"
    return verdict, finding.place or "the archive", finding.message, command


def _checks(validation: Validation) -> Markup:
    rows = [
        (
            result.validator,
            badge(str(len(result.findings)), "bad") if result.findings else badge("well", "good"),
            result.examined,
            format_duration(result.seconds),
        )
        for result in validation.results
    ]
    return section("What was looked at", table(("validator", "found", "in", "took"), rows))


def _pictures(context: Context, reference: xr.Dataset | None) -> Iterator[Markup]:
    from gridmill.validation.pictures import availability_picture, variable_picture

    if not context.published:
        return
    if any(context.varies(var) for var in context.variables):
        note = "How much of each position has values, of what ever has; red where nothing is there."
        picture = _image(availability_picture(context), "Availability over variables and time")
        yield section("What is there", Markup("<p>{}</p>").format(note), picture)
    yield section("Values over the whole period", _statistics(context))
    drawn = 0
    for var in context.variables:
        if drawn == MOST_VARIABLES_DRAWN:
            break
        uri = variable_picture(context, var, reference)
        if uri is None:
            continue
        drawn += 1
        about = f"{var.attrs['long_name']} ({var.attrs['units']})"
        picture = _image(uri, f"Map, histogram and time series of {var.name}")
        yield details(Markup("<b>{}</b>&ensp;{}").format(var.name, about), picture, is_open=True)


def _statistics(context: Context) -> Markup:
    rows = []
    for var in context.variables:
        stats = context.statistics(var)
        fields = stats.fields
        possible = range_of(var)
        rows.append(
            (
                var.name,
                str(var.attrs["units"]),
                _number(fields["minimum"].min()),
                _number(fields["mean"].mean()),
                _number(fields["maximum"].max()),
                _number(fields["std"].mean()),
                f"{float(stats.missing.mean()):.1%}",
                "–" if possible is None else f"{possible[0]:g} … {possible[1]:g}",
            )
        )
    columns = ("variable", "units", "smallest", "mean", "largest", "spread", "missing", "possible")
    return table(columns, rows, numbers=columns[2:7])


def _number(value: xr.DataArray) -> str:
    number = float(value)
    return "–" if np.isnan(number) else f"{number:.5g}"


def _image(uri: str, text: str) -> Markup:
    look = "display:block;width:100%;height:auto;margin:8px 0;border-radius:6px"
    return Markup('<img src="{}" alt="{}" style="{}">').format(uri, text, look)

"""What a shell offers after Tab: datasets, their variables, formats, clusters.

A shell waits for it, so that nothing is asked of a store or a provider, and what cannot be found
is an empty offer and no message in the middle of a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

__all__ = [
    "complete_cluster",
    "complete_dataset",
    "complete_format",
    "complete_proposed",
    "complete_validators",
    "complete_variables",
]

# Of samples whose names a shell waits for: their headers are read in about a second.
MOST_NBYTES = 64_000_000

Offers = list[CompletionItem]


def complete_dataset(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Offer the names of registered datasets."""
    from gridmill.registry import dataset_names

    return [name for name in dataset_names() if name.startswith(incomplete)]


def complete_variables(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> Offers:
    """Offer the dataset's variables, after a comma those that are not yet named."""
    return _further(incomplete, _variables(_dataset_of(context)))


def complete_validators(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> Offers:
    """Offer the names of validators, after a comma those that are not yet named."""
    from gridmill.validation.validate import DEFAULT_VALIDATORS

    return _further(incomplete, [(validator.name, "") for validator in DEFAULT_VALIDATORS])


def complete_proposed(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> Offers:
    """Offer the variables that are proposed for samples on this disk."""
    given = [*(context.params.get("samples") or ()), *(context.params.get("more_samples") or ())]
    return _further(incomplete, [(name, "") for name in _proposed(given)])


def complete_format(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Offer the formats of archives."""
    from gridmill.stores.opening import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


def complete_cluster(context: click.Context, parameter: click.Parameter, incomplete: str) -> Offers:
    """Offer the kinds of clusters; where none begins so, files: one may describe a scheduler."""
    from gridmill.runs.workplaces.specs import KINDS

    offers = [
        CompletionItem(name, help=meaning)
        for name, meaning in KINDS.items()
        if name.startswith(incomplete)
    ]
    return offers or [CompletionItem(incomplete, type="file")]


def _further(incomplete: str, offered: Sequence[tuple[str, str]]) -> Offers:
    """Offer names, with what they are, that are not yet named before the last comma."""
    before, comma, begun = incomplete.rpartition(",")
    named = before.split(",")
    return [
        CompletionItem(f"{before}{comma}{name}", help=description or None)
        for name, description in offered
        if name.startswith(begun) and name not in named
    ]


def _proposed(given: Sequence[str]) -> list[str]:
    """Return the names of variables in samples; none where reading them takes long, or fails."""
    from gridmill.operations.samples.propose import proposal_from

    files = [Path(one).expanduser() for one in given if "://" not in one]
    try:
        if not files or sum(path.stat().st_size for path in files) > MOST_NBYTES:
            return []
        with proposal_from([str(path) for path in files]) as proposal:
            chosen: Any = proposal
            return [*(var.name for var in chosen.variables), *proposal.others]
    except (OSError, ValueError, ImportError):
        return []


def _dataset_of(context: click.Context) -> str | None:
    """Return the dataset of the line; click leaves it unparsed where an option lacks its value."""
    given = context.params.get("spec")
    words = [word for word in context.args if not word.startswith("-")]
    return given or (words[0] if words else None)


def _variables(spec: str | None) -> list[tuple[str, str]]:
    from gridmill.cli.importing import import_dask_late
    from gridmill.registry import find_dataset

    if spec is None:
        return []
    import_dask_late()
    try:
        declared = find_dataset(spec).template_config().data_vars
    except Exception:  # whatever an author's package raises: the command itself will say it
        return []
    return [(var.name, str(var.attrs.get("long_name", ""))) for var in declared]

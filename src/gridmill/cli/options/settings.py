"""Settings from a file: what the environment and the command line override.

``gridmill.toml`` in the working folder, or what ``--config`` names::

    cluster = "coiled"
    workers = 20
    cluster-option = { region = "us-east-1" }

    [datasets.my-forecast]
    store = "s3://my-bucket/my-forecast.zarr"

A setting is called as its option, and holds for every command that has it; those below
``datasets`` hold for that dataset. What has no environment variable is no setting: it belongs to
one call.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gridmill.cli.options.declaring import setting

__all__ = ["config_option", "settings_for"]

DEFAULT_FILE = "gridmill.toml"
DATASETS = "datasets"

config_option: Callable[..., Any] = setting(
    "--config",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    expose_value=False,
    help=f"Settings, in TOML.  [default: {DEFAULT_FILE}, if it is there]",
)


def settings_for(
    group: click.Context,
    command: click.Command,
    commands: Mapping[str, click.Command],
    args: Sequence[str],
) -> dict[str, Any]:
    """Return the settings for a call of a command, by parameter.

    Parameters
    ----------
    group, command
        The command, and the context that it is called in.
    commands
        All there are: a setting for none of them is a mistake.
    args
        What stands behind the command's name.

    Raises
    ------
    UsageError
        The file cannot be read, or has a setting that does not exist or is of a wrong type.
    """
    if set(args) & set(group.help_option_names):
        return {}
    given = _parsed(group, command, args)
    named = given.get("config") or os.environ.get("GRIDMILL_CONFIG")
    path = Path(named or DEFAULT_FILE)
    if not named and not path.exists():
        return {}
    content = _read(path)
    datasets = content.pop(DATASETS, {})
    if not isinstance(datasets, dict):
        raise click.UsageError(f"{path}: {DATASETS} is a table of tables, one per dataset")
    known = _settings(commands.values())
    values = _checked(content, known, str(path))
    for name, table in datasets.items():
        of_dataset = _checked(table, known, f"{path}, {DATASETS}.{name}")
        _check_is_dataset(name, str(path), given.get("spec"))
        if name == given.get("spec"):
            values.update(of_dataset)
    return {known[key].name or key: value for key, value in values.items()}


def _check_is_dataset(name: str, path: str, asked: str | None) -> None:
    """Raise where settings are of a dataset that nobody registered: they would never hold."""
    if name == asked or ":" in name:
        return
    from gridmill.registry import dataset_names

    known = dataset_names()
    if name not in known:
        near = difflib.get_close_matches(name, [*known, asked or ""], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ": gridmill list names those that are"
        raise click.UsageError(f"{path}: {DATASETS}.{name} is no registered dataset{hint}")


def _parsed(group: click.Context, command: click.Command, args: Sequence[str]) -> dict[str, Any]:
    """Return what the command line says, as far as it is valid; mistakes are reported later."""
    try:
        context = click.Context(command, parent=group, resilient_parsing=True)
        values, _, _ = command.make_parser(context).parse_args(list(args))
    except click.ClickException:
        return {}
    return dict(values)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.UsageError(f"{path} cannot be read: {error}") from error


def _settings(commands: Any) -> dict[str, click.Option]:
    """Return the options that may be set, by their names without the dashes."""
    return {
        name.removeprefix("--"): option
        for command in commands
        for option in command.params
        if isinstance(option, click.Option) and option.envvar and option.expose_value
        for name in option.opts
        if name.startswith("--")
    }


def _checked(
    content: Mapping[str, Any], known: Mapping[str, click.Option], where: str
) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise click.UsageError(f"{where}: {content!r} is no table of settings")
    values = {}
    for key, value in content.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}? " if near else ""
            raise click.UsageError(
                f"{where}: {key!r} is no setting: {hint}known are {', '.join(sorted(known))}"
            )
        values[key] = _value(value, known[key], f"{where}: {key}")
    return values


def _value(value: Any, option: click.Option, where: str) -> Any:
    """Return a value as the command line would have it."""
    if option.multiple and option.callback is not None:
        if not isinstance(value, dict):
            raise click.UsageError(f"{where} is a table, like {{ key = 1 }}, not {value!r}")
        return [f"{name}={json.dumps(item)}" for name, item in value.items()]
    wanted: type = str
    if option.is_flag:
        wanted = bool
    elif isinstance(option.type, click.IntRange):
        wanted = int
    values = value if option.multiple and isinstance(value, list) else [value]
    for item in values:
        if not isinstance(item, wanted) or (isinstance(item, bool) and wanted is not bool):
            names = {str: "a text", bool: "true or false", int: "a whole number"}
            raise click.UsageError(f"{where} is {names[wanted]}, not {value!r}")
    return values if option.multiple else value

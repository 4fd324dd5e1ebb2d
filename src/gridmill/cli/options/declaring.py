"""How options are declared, and their values read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

from gridmill.cli.output.secrets import keep_secret

__all__ = [
    "Command",
    "parse_credentials",
    "parse_named",
    "parse_options",
    "parse_value",
    "parse_variables",
    "setting",
    "with_options",
]

Command = Callable[..., Any]


def setting(name: str, *declared: str, **attributes: Any) -> Command:
    """Declare an option that a variable of the environment may give, too: GRIDMILL_ and its name.

    Examples
    --------
    >>> command = click.Command("run")
    >>> setting("--source-base")(command).params[0].envvar
    'GRIDMILL_SOURCE_BASE'
    """
    variable = "GRIDMILL_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *declared, envvar=variable, show_envvar=True, **attributes)


def with_options(command: Command, options: Sequence[Command]) -> Command:
    """Add options to a command, in the order in which its help lists them."""
    for option in reversed(options):
        command = option(command)
    return command


def parse_variables(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> list[str] | None:
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    if values and not names:
        raise click.BadParameter("names no variable", context, parameter)
    return names or None


def parse_options(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> dict[str, Any]:
    options = parse_named(context, parameter, values)
    keep_secret(options)
    return options


def parse_named(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> dict[str, Any]:
    options = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", context, parameter)
        options[key] = parse_value(value)
    return options


def parse_credentials(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> tuple[Any, ...]:
    """Read what is declared of credentials; what is wrong is said without being repeated."""
    if not values:
        return ()
    from gridmill.sources.fetch.credentials.rules import credential_of

    found = []
    for text in values:
        host, equals, told = text.partition("=")
        table = parse_value(told)
        if not equals or not isinstance(table, dict):
            raise click.BadParameter("the value is not HOST={…}", context, parameter)
        try:
            found.append(credential_of(host, table))
        except (TypeError, ValueError) as error:
            raise click.BadParameter(str(error), context, parameter) from None
    return tuple(found)


def credential_option(command: Command) -> Command:
    """Take where credentials for source hosts are read; passes `credential`."""
    declared: Command = setting(
        "--credential",
        metavar="HOST=RULE",
        multiple=True,
        callback=parse_credentials,
        help="Where the credential for a host of source files is read, as JSON, like "
        """data.example.org={"kind":"bearer","env":"EXAMPLE_TOKEN"}. Names, never the """
        "credential itself.",
    )
    return with_options(command, [declared])


def parse_value(text: str) -> Any:
    """Read JSON, Python's spelling of its constants, or else take the text as it is.

    Examples
    --------
    >>> parse_value("[1, 10]"), parse_value("False"), parse_value("m6i.large")
    ([1, 10], False, 'm6i.large')
    """
    constants = {"true": True, "false": False, "none": None}
    if text.lower() in constants:
        return constants[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text

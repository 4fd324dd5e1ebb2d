"""The commands by name: each is imported when somebody asks for it, and not with all others."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from importlib import import_module

import click

__all__ = ["Commands"]


class Commands(MutableMapping[str, click.Command]):
    """The commands of the modules in `gridmill.cli.commands`, as click's groups take them.

    Parameters
    ----------
    names
        Of the commands, in their order. The command "run-one" is in the module "run_one".
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._known: dict[str, click.Command | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> click.Command:
        known = self._known[name]
        if known is None:
            module = import_module(f"gridmill.cli.commands.{name.replace('-', '_')}")
            commands = (one for one in vars(module).values() if isinstance(one, click.Command))
            known = self._known[name] = next(one for one in commands if one.name == name)
        return known

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

"""Every command that the pages show is one: its options exist, and what it needs is given."""

from __future__ import annotations

import shlex

import click
import pytest

from gridmill.cli import cli
from pages import COMMANDS, WRITTEN_COMMANDS


@pytest.mark.parametrize(("page", "command"), [*COMMANDS, *WRITTEN_COMMANDS])
def test_a_command_that_is_shown_can_be_given(page, command):
    """A name alone speaks of the command; with arguments it must parse."""
    name, *args = shlex.split(command)[1:]
    assert name in cli.commands
    if not args or args == ["…"]:
        return
    args = [arg for arg in args if arg != "…"]
    if ">" in args:  # what follows is the shell's
        args = args[: args.index(">")]
    needed = {"backfill": ["--until", "2025-07-01"]}.get(name, [])
    if not set(needed) & set(args):
        args += needed
    # With its settings: a command keeps the names of its help option from the first context.
    group = click.Context(cli, info_name="gridmill", **cli.context_settings)
    context = cli.commands[name].make_context(name, args, parent=group)
    assert context.args == []


def test_pages_show_most_commands():
    """A command that no page shows is hard to find."""
    named = {command.split()[1] for _, command in COMMANDS}
    assert set(cli.commands) - named == set()

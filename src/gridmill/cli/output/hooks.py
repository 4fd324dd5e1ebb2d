"""Run hooks: a command, or a Python function, that is told what a run did."""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from gridmill.cli.errors import masked, warn
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, let_import_from_here
from gridmill.cli.options.declaring import Command, setting, with_options
from gridmill.cli.output.cataloguing import CatalogueOptions, catalogue_options

__all__ = ["Hooks", "hook_options"]

# An alert or an entry in a catalogue takes seconds; a run must not hang on one for ever.
TIMEOUT_S = 300.0
MOST_WORDS_SHOWN = 40


@dataclass(frozen=True)
class Hooks:
    """What to call after a run.

    Parameters
    ----------
    on_publish
        Called when readers see more: while a run goes on, and at its end with the report.
    on_failure
        Called after a run that failed, was too late, or published new gaps.
    catalogue
        What is rewritten when readers see more.
    """

    on_publish: str | None = None
    on_failure: str | None = None
    catalogue: CatalogueOptions = field(default_factory=CatalogueOptions)

    def published(self, content: Mapping[str, Any]) -> str | None:
        """Say that readers see more; why the hook failed, if it did."""
        return _call("publish", self.on_publish, content)

    def failed(self, content: Mapping[str, Any]) -> str | None:
        """Say that a run needs somebody's eye; why the hook failed, if it did."""
        return _call("failure", self.on_failure, content)


def hook_options(command: Command) -> Command:
    """Take what to call after a run, and the catalogue that it keeps current; passes `Hooks`.

    An error that ends the command calls the hook for failures, too, but for the operator's own
    interruption.
    """
    options = [
        setting(
            "--on-publish",
            metavar="HOOK",
            help="Called after a publication and at the end of the run: a command that gets the "
            "report as JSON on stdin, or package.module:function that gets it as a dict.",
        ),
        setting(
            "--on-failure",
            metavar="HOOK",
            help="Called likewise after a run that failed, passed its deadline or published new "
            "gaps.",
        ),
    ]

    @functools.wraps(command)
    def wrapped(
        archive: ArchiveOptions,
        on_publish: str | None,
        on_failure: str | None,
        catalogue: CatalogueOptions,
        **rest: Any,
    ) -> Any:
        hooks = Hooks(on_publish, on_failure, catalogue)
        try:
            return command(archive=archive, hooks=hooks, **rest)
        except click.ClickException as error:
            if error.exit_code != ExitCode.INTERRUPTED:
                hooks.failed(_error_content(archive, error))
            raise

    return with_options(catalogue_options(wrapped), options)


def _error_content(archive: ArchiveOptions, error: click.ClickException) -> dict[str, Any]:
    from gridmill.sources.fetch.download import mask_url

    return {
        "dataset_id": archive.spec,
        "store": None if archive.store is None else mask_url(archive.store),
        "error": error.format_message(),
        "exit_code": int(error.exit_code),
    }


def _call(event: str, hook: str | None, content: Mapping[str, Any]) -> str | None:
    if hook is None:
        return None
    told = {"event": event, **content}
    call: Callable[[str, Mapping[str, Any]], None] = _run_command
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", hook):
        call = _call_function
    try:
        call(hook, told)
    # Whatever somebody's hook raises, the run is not concerned.
    except Exception as error:
        why = f"the hook on_{event} failed: {masked(error)}"
        warn(why)
        return why
    return None


def _call_function(hook: str, told: Mapping[str, Any]) -> None:
    module, _, name = hook.partition(":")
    let_import_from_here()
    getattr(importlib.import_module(module), name)(dict(told))


def _run_command(hook: str, told: Mapping[str, Any]) -> None:
    named = {"event": "EVENT", "dataset_id": "DATASET", "store": "STORE", "run": "RUN"}
    more = {"published_after": "PUBLISHED", "exit_code": "EXIT_CODE"}
    known = {f"GRIDMILL_{v}": told.get(k) for k, v in {**named, **more}.items()}
    environment = {name: str(value) for name, value in known.items() if value is not None}
    done = subprocess.run(
        shlex.split(hook),
        input=json.dumps(told, default=str),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    sys.stderr.write(done.stdout)
    if done.returncode:
        words = done.stderr.split()[-MOST_WORDS_SHOWN:]
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(words) or 'it says nothing'}")
    sys.stderr.write(done.stderr)

"""What is logged: to stderr, for people or for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gridmill.cli.output.secrets import mask
from gridmill.sources.retries import say_retries_in_words

if TYPE_CHECKING:
    from gridmill.cli.output.output import Output

__all__ = ["configure_logging", "dask_level", "set_levels"]


class _StderrHandler(logging.StreamHandler[Any]):
    """Writes to what is stderr at that moment: a live display puts itself there."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """The present stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        raise AttributeError("always sys.stderr")


class _TextLines(logging.Formatter):
    """A line for people, without credentials."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback if there is one."""
        return mask(super().format(record))


class _JsonLines(logging.Formatter):
    """An object a line for machines, without credentials."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time (ISO 8601, UTC), level, logger, message, and traceback if there is one."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": mask(record.getMessage()),
        }
        if record.exc_info:
            content["traceback"] = mask(self.formatException(record.exc_info))
        return json.dumps(content)


def configure_logging(output: Output) -> None:
    """Log to stderr, warnings of libraries included."""
    root = logging.getLogger()
    if not any(isinstance(handler, _StderrHandler) for handler in root.handlers):
        root.addHandler(_StderrHandler())
    formatter = _JsonLines() if output.log_format == "json" else _TextLines()
    for handler in root.handlers:
        if isinstance(handler, _StderrHandler):
            handler.setFormatter(formatter)
    logging.captureWarnings(True)
    say_retries_in_words()
    set_levels(output)


def set_levels(output: Output) -> None:
    """Set what is logged; again after importing distributed, which sets its own loggers up."""
    calm, verbose = logging.WARNING, logging.INFO
    level = logging.DEBUG if output.debug else verbose if output.verbose else calm
    logging.getLogger("gridmill").setLevel(level)
    for name in ("distributed", "distributed.client", "tornado", "asyncio", "py.warnings"):
        logging.getLogger(name).setLevel(dask_level(output))
    logging.getLogger("bokeh").setLevel(logging.ERROR)
    # A retry is no news unless asked for: the report counts them.
    logging.getLogger("stamina").setLevel(logging.ERROR if level == calm else level)


def dask_level(output: Output) -> int:
    """Return the level for libraries: workers that come and go are no news unless asked for."""
    if output.debug:
        return logging.INFO
    return logging.WARNING if output.verbose else logging.CRITICAL

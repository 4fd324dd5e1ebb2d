"""ecCodes, and the keys of a message that is loaded into it.

ecCodes tells an absent key from a missing value; both read as None here.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from gridmill.sources.grib.framing import GribCorrupt

__all__ = [
    "first_of_array",
    "import_eccodes",
    "integer",
    "is_defined",
    "loaded",
    "optional_integer",
    "optional_real",
    "optional_scaled",
    "real",
    "scaled",
    "silence_eccodes",
    "text",
]


@contextmanager
def loaded(message: bytes) -> Iterator[int]:
    """Load `message` into ecCodes; release it whatever happens, and name ecCodes' errors."""
    eccodes = import_eccodes()
    handle = None
    try:
        handle = eccodes.codes_new_from_message(message)
        yield handle
    except eccodes.CodesInternalError as error:
        raise GribCorrupt(f"ecCodes cannot read the message: {error}") from error
    finally:
        if handle is not None:
            eccodes.codes_release(handle)


@cache
def import_eccodes() -> Any:
    """Return ecCodes, or raise an error that says what to install."""
    try:
        import eccodes
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no library
        raise ImportError(f"GRIB needs ecCodes: pip install 'gridmill[grib]' ({error})") from error
    silence_eccodes()
    return eccodes


# ecCodes writes to it as long as the process lives.
_nowhere: list[Any] = []
# Of ecCodes itself: who sets them wants to see what it says.
ASKED_TO_SPEAK = ("ECCODES_DEBUG", "ECCODES_LOG_STREAM")


def silence_eccodes() -> None:
    """Let ecCodes' C library print nothing, if this process has it: errors say what is wrong.

    Of a damaged file it prints a line for each key that somebody looks at, past `sys.stderr`.
    """
    if _nowhere or "gribapi" not in sys.modules or any(map(os.environ.get, ASKED_TO_SPEAK)):
        return
    from gribapi.bindings import lib

    with suppress(AttributeError):  # an older ecCodes
        nowhere = Path(os.devnull).open("wb")  # noqa: SIM115
        lib.grib_context_set_logging_file(lib.grib_context_get_default(), nowhere)
        _nowhere.append(nowhere)


# Of four octets.
_SIGN = 0x80000000


def is_defined(handle: int, key: str) -> bool:
    """Whether a message has a key, be its value missing or not."""
    return bool(import_eccodes().codes_is_defined(handle, key))


def _is_given(handle: int, key: str) -> bool:
    return is_defined(handle, key) and not import_eccodes().codes_is_missing(handle, key)


def integer(handle: int, key: str) -> int:
    """Read an integer."""
    return int(import_eccodes().codes_get_long(handle, key))


def optional_integer(handle: int, key: str) -> int | None:
    """Read an integer; None if it is not given."""
    return integer(handle, key) if _is_given(handle, key) else None


def real(handle: int, key: str) -> float:
    """Read a number."""
    return float(import_eccodes().codes_get_double(handle, key))


def optional_real(handle: int, key: str) -> float | None:
    """Read a number; None if it is not given."""
    return real(handle, key) if _is_given(handle, key) else None


def text(handle: int, key: str) -> str:
    """Read a text."""
    return str(import_eccodes().codes_get_string(handle, key))


def first_of_array(handle: int, key: str) -> int:
    """Read the first of several integers."""
    return int(import_eccodes().codes_get_array(handle, key, int)[0])


def scaled(handle: int, name: str) -> float:
    """Read a GRIB2 decimal; see `optional_scaled`."""
    value = optional_scaled(handle, name)
    if value is None:
        raise GribCorrupt(f"scaledValueOf{name} is missing")
    return value


def optional_scaled(handle: int, name: str, *, is_signed: bool = False) -> float | None:
    """Read a GRIB2 decimal: the scaled value divided by ten to the scale factor.

    The first bit of a negative value is set (regulation 92.1.5), which ecCodes does not know.
    """
    factor = optional_integer(handle, f"scaleFactorOf{name}")
    value = optional_integer(handle, f"scaledValueOf{name}")
    if factor is None or value is None:
        return None
    if is_signed and value & _SIGN:
        value = -(value & ~_SIGN)
    return value / 10**factor if factor >= 0 else float(value * 10**-factor)

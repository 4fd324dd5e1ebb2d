"""Whom an exception says something about: a source file, the code, or the worker."""

from __future__ import annotations

import errno
import struct
import zlib

__all__ = ["NotTransformed", "is_disk_full", "is_of_decoders", "is_of_the_file"]

# What no other version of a file fixes: the author did not write it, or it goes round in circles.
OF_THE_CODE = (NotImplementedError, RecursionError)
# What decoders raise for a file that they cannot read; anything else is a mistake in a reader.
OF_DECODERS = (ValueError, OSError, RuntimeError, EOFError, zlib.error, struct.error)
# What says something about the worker, not about the file that it reads: taken for the file's
# fault, a full disk would publish a good file's place as missing.
OF_THE_WORKER = {
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
}


class NotTransformed(Exception):  # noqa: N818
    """An author's transformation raised, or made what cannot be stored; its cause says what."""


def is_of_the_file(error: Exception) -> bool:
    """Whether what an author's code raised may be what a source file holds.

    Decoders raise anything for a damaged file, and what a provider renamed is a KeyError.
    """
    is_of_system = isinstance(error, OSError) and error.errno in OF_THE_WORKER
    return not (is_of_system or isinstance(error, (MemoryError, *OF_THE_CODE)))


def is_of_decoders(error: Exception) -> bool:
    """Whether decoders raise such; else it may be a mistake in an author's code."""
    return isinstance(error, OF_DECODERS)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full, so that another worker may do better."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)

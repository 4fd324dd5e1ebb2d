"""Which version of a source file something is about: how its provider names it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Identity", "Word", "identity_of"]

Identity = tuple[int | None, str | None, str | None]


def identity_of(nbytes: int | None, etag: str | None, last_modified: str | None) -> Identity:
    """Return what tells two versions of a source file apart.

    The size only where the provider says nothing better: of a file that is fetched by ranges it is
    that of the variables which a run asked for.
    """
    is_named = etag is not None or last_modified is not None
    return (None if is_named else nbytes, etag, last_modified)


@dataclass(frozen=True, slots=True)
class Word:
    """Somebody's word about one version of a source file: that it is right, or wrong.

    Parameters
    ----------
    note
        Who, when and why.
    identity
        The version of the source file that it is about, see `identity_of`.
    """

    note: str
    identity: Identity

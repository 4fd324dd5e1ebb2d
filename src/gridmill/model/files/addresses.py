"""Where a source file is available, and what it means that it was taken from there."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from gridmill.model.urls import mask_url

__all__ = ["Address"]


@dataclass(frozen=True)
class Address:
    """One of the addresses of a source file, and what it means that the file was taken from there.

    Parameters
    ----------
    url
        A URL, or a path below the dataset's `source_base`.
    provisional
        Why what is there is not final, in a few words like ``"preliminary, replaced after two
        weeks"``. Such a file is published, and the addresses without this are asked until one of
        them has the final one. None: what is there is final.
    remark
        What is worth knowing of a file from there; the run's report says of how many it holds.

    Examples
    --------
    >>> Address("prelim/2026.05.tif.gz", provisional="preliminary, final in the next month")
    Address(url='prelim/2026.05.tif.gz', provisional='preliminary, final in the next month', \
remark=None)
    """

    url: str
    _: KW_ONLY
    provisional: str | None = None
    remark: str | None = None

    def __post_init__(self) -> None:
        """Refuse words that say nothing."""
        for name in ("provisional", "remark"):
            told = getattr(self, name)
            if told is not None and (not isinstance(told, str) or not told.strip()):
                raise ValueError(
                    f"{name}={told!r} of address {mask_url(self.url)!r} says nothing: give a few "
                    "words why, or None"
                )

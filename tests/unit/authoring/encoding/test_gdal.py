"""The encoding for GDAL: no shards, no crc32c, and only codecs that it knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from generated import GeneratedTemplate
from georeferenced import ForGdalTemplate, GeoreferencedTemplate
from gridmill.authoring.encoding.gdal import for_gdal


def test_no_array_of_the_template_has_shards_or_a_checksum() -> None:
    """Of variables and coordinates alike: GDAL reads both."""
    template = ForGdalTemplate()
    lengths = dict.fromkeys(("time", "level", "latitude", "longitude"), 8)
    encodings = [coord.encoding(lengths) for coord in template.coords]
    encodings += [var.encoding for var in template.data_vars]
    assert not any(e.checksum or e.shards for e in encodings)


def test_nothing_else_changes() -> None:
    """Chunks, compressors and attributes are those that were declared."""
    for ours, declared in zip(
        ForGdalTemplate().data_vars, GeoreferencedTemplate().data_vars, strict=True
    ):
        encoding = replace(ours.encoding, shards=declared.encoding.shards, checksum=True)
        assert replace(ours, encoding=encoding) == declared


def test_a_codec_that_gdal_does_not_know_is_refused() -> None:
    """The error names the codec, the variable and the remedy."""
    var = GeneratedTemplate.data_vars[0]
    encoding = replace(var.encoding, compressors=({"name": "numcodecs.pcodec"},))
    with pytest.raises(ValueError, match=r"pcodec.*temperature.*blosc, zstd"):
        for_gdal([replace(var, encoding=encoding)])

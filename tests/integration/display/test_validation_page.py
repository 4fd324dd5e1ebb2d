"""The page of a validation shows what is there, stands alone, and names what repairs it."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb, to_rgba

from gridmill.dataset import DynamicalDataset
from gridmill.display.pictures.drawing import availability_picture, variable_picture
from gridmill.display.pictures.fields import reference_field
from gridmill.display.pictures.looks import (
    ABSENT,
    DARK,
    GROUND,
    INK,
    LINE,
    QUIET,
    as_picture,
    make_figure,
    make_plain,
)
from gridmill.display.validation_page import validation_page
from gridmill.validation import Context, look_at
from gridmill.validation.validate import DEFAULT_VALIDATORS
from weather import DAYS, Provider, Weather, hours, until

NOW = until(DAYS)


@pytest.fixture(scope="module")
def archive(client, tmp_path_factory) -> DynamicalDataset:
    """Four days of weather, of which one has no temperature."""
    root = tmp_path_factory.mktemp("weather")
    provider = Provider(root / "source")
    provider.publish(hours(0, 24 * DAYS))
    provider.change(hours(24, 48), "temperature", lambda field: field * np.nan)
    dataset = Weather(root / "a.zarr", source_base=str(provider.root))
    dataset.backfill(NOW, client=client, now=NOW)
    return dataset


def pixels_of(uri: str) -> np.ndarray:
    """Decode a picture: (height, width, 3), from 0 to 1."""
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return matplotlib.image.imread(BytesIO(content), format="png")[..., :3]


def count_red(uri: str) -> int:
    """Count the pixels in the colour of what is absent."""
    return int((np.abs(pixels_of(uri) - to_rgb(ABSENT)).max(axis=-1) < 0.01).sum())


def test_a_page_stands_alone_and_says_all(archive):
    """Verdict, findings with their command, pictures inside, nothing from elsewhere."""
    context = Context(archive, now=NOW)
    reference = archive.store.open_dataset()
    page = validation_page(context, look_at(context, DEFAULT_VALIDATORS), reference)
    assert page.count("data:image/png;base64,") == 2 * 3  # for light ground and for dark
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    # Where a picture is wider than a phone it scrolls: shrunk, its text could not be read.
    assert page.count("<picture>") == page.count('<div class="gm-scroll"><picture>') == 3
    assert "1 error" in page
    assert "up to 100% of a field is missing" in page
    assert "gridmill backfill weather:Weather" in page
    assert "Values over the whole period" in page


def test_what_is_absent_shows_red(archive):
    """A day without a value is seen in the heatmap; a selection without it has none of that red."""
    missing = count_red(availability_picture(Context(archive, now=NOW)).light)
    there = count_red(availability_picture(Context(archive, now=NOW, start=until(2))).light)
    # The scale's arrow is red, too.
    assert missing > 20 * max(there, 1)


def test_a_reference_stands_beside(archive):
    """The picture has another map and another line, and is no smaller."""
    context = Context(archive, now=NOW)
    (temperature, rain) = context.variables
    reference = archive.store.open_dataset().rename(temperature="t2m")
    alone, beside = (variable_picture(context, temperature, ds) for ds in (None, reference))
    assert alone is not None
    assert beside is not None
    assert pixels_of(beside.light).shape[0] > pixels_of(alone.light).shape[0]
    # Found by its standard name; rain has none, and its name is there.
    assert variable_picture(context, rain, reference) is not None


def test_a_picture_has_its_twin_on_dark_ground(archive):
    """The same size, and the page's ground."""
    context = Context(archive, now=NOW)
    drawn = variable_picture(context, context.variables[0])
    assert drawn is not None
    for picture in (drawn, availability_picture(context)):
        light, dark = map(pixels_of, picture)
        assert light.shape == dark.shape
        for pixels, ground in ((light, GROUND), (dark, DARK[GROUND])):
            np.testing.assert_allclose(pixels[0, 0], to_rgb(ground), atol=0.01)


def test_on_dark_ground_nothing_keeps_an_ink_for_white():
    """Titles, ticks, lines, areas and labels of a colour bar."""
    figure = make_figure(3.0)
    axes = figure.add_subplot()
    axes.set_title("title", color=INK)
    axes.plot([0, 1], [0, 1], color=LINE)
    axes.fill_between([0, 1], [0, 1], color=LINE, alpha=0.25)
    make_plain(axes)
    as_picture(figure)
    texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.title]
    found = {to_hex(text.get_color()) for text in texts}
    assert found == {DARK[QUIET], DARK[INK]}
    assert to_hex(axes.lines[0].get_color()) == DARK[LINE]
    np.testing.assert_allclose(axes.collections[0].get_facecolor()[0], to_rgba(DARK[LINE], 0.25))


def test_the_nearest_field_of_a_reference_is_shown(archive):
    """In time and along every other dim that both have."""
    context = Context(archive, now=NOW)
    temperature = context.variables[0]
    reference = archive.store.open_dataset().isel(time=slice(0, 90, 7))
    field = reference_field(context, reference, temperature)
    assert field is not None
    assert field.title == "time 2020-01-04T12:00"
    assert field.is_geographic
    np.testing.assert_array_equal(field.values, reference["temperature"].isel(time=-1))


def test_an_archive_that_does_not_open_has_a_page(archive, tmp_path):
    """Without pictures, and with what puts it back."""
    root = Path(archive.store.url) / "zarr.json"
    content = root.read_bytes()
    root.write_bytes(b"{}")
    try:
        context = Context(archive, now=NOW)
        page = validation_page(context, look_at(context, DEFAULT_VALIDATORS))
    finally:
        root.write_bytes(content)
    assert "does not open" in page
    assert "restore-metadata" in page
    assert "data:image" not in page

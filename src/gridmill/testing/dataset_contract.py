"""What every dataset must do, built in or not: a suite for pytest to run on source files at hand.

Subclass it in your package's tests, say which dataset and where its source files are, and let
pytest collect the subclass; see `DatasetContract`. Needs nothing of pytest but its fixtures.
"""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import cloudpickle
import numpy as np
import xarray as xr

from gridmill.archive.opening import listing
from gridmill.authoring.axis import on_axis
from gridmill.authoring.derived.steps import n_steps, step_offsets
from gridmill.authoring.encoding.survival import check_new
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.regridding.reading import regridding_of
from gridmill.authoring.settling import is_offered, offered_span
from gridmill.authoring.source_file import SourceFileCoord, url_of
from gridmill.authoring.transforms.casting import as_array, cast_into
from gridmill.dataset import DynamicalDataset
from gridmill.model.region import Region, as_slice, regions_of
from gridmill.model.reports.run_report import RunReport
from gridmill.model.variables import DataVar
from gridmill.planning.belief import nothing_missing
from gridmill.planning.prepare import PreparedGroup, prepare_region
from gridmill.planning.source_files.declared import positions_not_offered
from gridmill.planning.source_files.grouping import sources_of
from gridmill.planning.source_files.offered import Offered, is_offered_of
from gridmill.sources.evidence.expected import expected_axes
from gridmill.sources.fetch.credentials.access import using
from gridmill.sources.listings.listings import Listings

__all__ = ["DatasetContract"]

# Nothing is fetched from there.
NO_SOURCE = "/source"


class DatasetContract:
    """What a dataset must do; subclass it, set `dataset` and `until`, and define `make_source`.

    Attributes
    ----------
    dataset : type of DynamicalDataset
        The dataset.
    until : str
        Where the archives of this suite end: a few positions or regions after the start, so that
        it takes seconds.
    start : str or None
        Where they begin; None means at the dataset's own start.
    variables : sequence of str or None
        Which variables they have; None means all.

    Examples
    --------
    In ``tests/test_dataset.py`` of a package::

        class TestMyForecast(DatasetContract):
            dataset = MyForecast
            until = "2024-01-03"

            def make_source(self, folder):
                write_sample_files(folder)  # or give the folder where they are
                return str(folder)
    """

    dataset: ClassVar[type[DynamicalDataset]]
    until: ClassVar[str]
    start: ClassVar[str | None] = None
    variables: ClassVar[Sequence[str] | None] = None

    def make_source(self, folder: Path) -> str:
        """Return the `source_base` with all source files up to `until`; `folder` is empty."""
        raise NotImplementedError(f"{type(self).__name__} must define make_source()")

    # -- the structure ------------------------------------------------------------------------

    def test_the_structure_does_not_depend_on_where_it_ends(self) -> None:
        """A longer template begins as a shorter one: labels and coordinates never change."""
        config = self._config()
        dim = config.append_dim
        check_new(config)
        whole = config.get_template(config.label(self.until))
        index = whole.get_index(dim)
        assert len(index) > 1, f"until {self.until} gives {len(index)} positions: give a later one"
        assert index.is_monotonic_increasing, f"labels of {dim} do not increase"
        assert index.is_unique, f"labels of {dim} repeat"
        part = config.get_template(index[len(index) // 2])
        cut = whole.isel({dim: slice(0, part.sizes[dim])})
        for name in whole.coords:
            assert cut[name].variable.equals(part[name].variable), f"coordinate {name} changes"

    def test_the_metadata_says_what_readers_need(self) -> None:
        """Names, units and titles are there, and are what JSON and CF can hold."""
        ds = self._template()
        for key in ("title", "dataset_id"):
            assert ds.attrs.get(key), f"the dataset has no {key}"
        json.dumps(ds.attrs, allow_nan=False)
        for name, var in {**ds.data_vars, **ds.coords}.items():
            json.dumps(var.attrs, allow_nan=False)
            if name in ds.data_vars:
                assert var.attrs["long_name"], f"{name} has no long_name"
                assert var.attrs["units"], f"{name} has no units: give 1 where there is none"
            elif var.dtype.kind not in "MOSUT":
                assert {"units", "long_name", "standard_name"} & set(var.attrs), (
                    f"coordinate {name} has neither units nor a name"
                )

    def test_every_dim_has_its_coordinate(self) -> None:
        """Readers select by label along every dim of a variable; bounds need no labels."""
        ds = self._template()
        dims = {dim: None for var in ds.data_vars.values() for dim in var.dims}
        without = [dim for dim in dims if dim not in ds.coords]
        assert not without, f"dims without a coordinate: {without}"

    # -- source files -------------------------------------------------------------------------

    def test_source_files_cover_every_position(self) -> None:
        """Every position is offered by a source file, every other label by one of some position.

        Each place is filled by one file only. What no file of a position fills, like the last leads
        of a shorter forecast, is not offered.
        """
        offered: dict[str, np.ndarray[Any, Any]] = {}
        for job, group in self._groups():
            sizes = {str(dim): n for dim, n in job.processing_region_ds().sizes.items()}
            places = Offered(job, group.files, sizes)
            for var in group.variables:
                assert (places.times(var) < 2).all(), (
                    f"{job}: two source files fill one place of {var.name}"
                )
                mask = places.places(var)
                has_word = var.encoding.missing is not None
                assert has_word or mask.all(), (
                    f"{job}: no source file fills a place of {var.name}, and in "
                    f"{var.encoding.dtype} nothing says missing: give its Encoding a fill_value"
                )
                self._check_positions(job, var, mask)
                for dim, found in _by_label(var.dims, mask).items():
                    if dim != job.append_dim:
                        offered[dim] = offered.get(dim, False) | found
        for dim, found in offered.items():
            if not found.all():
                label = self._template().get_index(dim)[int(np.argmin(found))]
                raise AssertionError(f"no source file of any position fills {dim} {label}")

    def _check_positions(self, job: RegionJob[Any, Any], var: DataVar, mask: Any) -> None:
        """Compare the positions that are offered with those that a variable has."""
        if job.is_static:
            assert mask.any(), f"{job}: no source file fills {var.name}"
            return
        has_files = mask.any(axis=tuple(range(1, mask.ndim)))
        span, start = offered_span(job, var.name), job.region.start
        has_files[: max(0, span.start - start)] = True
        has_files[max(0, span.stop - start) :] = True
        has_files |= positions_not_offered(job)
        if not has_files.all():
            position = job.region.start + int(np.argmin(has_files))
            label = job.template_ds.get_index(job.append_dim)[position]
            raise AssertionError(
                f"{job}: no source file fills {var.name} at {job.append_dim} {label}"
            )

    def test_source_files_have_stable_addresses(self) -> None:
        """The same region gives the same files in the same order: a resume compares them."""
        first = [url_of(file.coord) for _, group in self._groups() for file in group.files]
        again = [url_of(file.coord) for _, group in self._groups() for file in group.files]
        other = [pair for pair in zip(first, again, strict=True) if pair[0] != pair[1]]
        assert not other, f"another address the second time: {other[:3]}"
        assert all(first), "a source file has an empty URL"

    def test_what_goes_to_workers_pickles(self) -> None:
        """Region jobs without their template, and source files."""
        for job, group in self._groups():
            pickle.loads(cloudpickle.dumps(job.for_worker(group.variables)))
            again = pickle.loads(cloudpickle.dumps(group.files))
            same = [f.coord for f in again] == [f.coord for f in group.files]
            assert same, f"{job}: source files are others after pickling"

    def test_what_is_expected_is_a_claim(self) -> None:
        """`expected` takes every file and any moment; what is expected stays so."""
        config = self._config()
        now = config.label(self.until)
        for job, group in self._groups():
            for file in group.files:
                early, late = job.expected(file.coord, now), job.expected(file.coord, _later(now))
                assert early in (True, False), f"expected() gives {early!r}, no claim"
                assert late or not early, f"{url_of(file.coord)} is expected, then no more"

    def test_one_source_file_can_be_read(self, tmp_path: Path) -> None:
        """The first file of each group is downloaded, and gives values of the right shape.

        A region in which it alone has arrived is transformed: the other values are missing.
        """
        source = self._source(tmp_path)
        for number, (job, group) in enumerate(self._groups(source)):
            folder = tmp_path / f"download-{number}"
            folder.mkdir()
            if any(is_offered(job, var) for var in group.variables):
                self._check_file(replace(job, download_dir=folder), group)

    def _check_file(self, job: RegionJob[Any, Any], group: PreparedGroup) -> None:
        assert group.files, (
            f"{job}: generate_source_file_coords() lists no source file for "
            f"{', '.join(var.name for var in group.variables)}"
        )
        file = group.files[0]
        # Hooks run on workers, which have no template.
        there = job.for_worker(sources_of(group.variables))
        with using(job.access):
            coord = replace(file.coord, downloaded_path=_downloaded(there, file.coord))
        sizes = {str(dim): n for dim, n in job.processing_region_ds().sizes.items()}
        offsets = step_offsets(job, group.variables[0])
        sizes[job.append_dim] = n_steps(offsets, sizes[job.append_dim])
        at = file.place_in_source(job.append_dim)
        axes = expected_axes(job.template_ds, job.append_dim)
        given = [var for var in there.data_vars if file.gives(var.name)]
        for var in (var for var in given if is_offered_of(job, var, file)):
            found = as_array(there.read_data(coord, var), var.name)
            regridding = regridding_of(there, coord, var, axes, at)
            wanted = _shape_at(var, at, sizes)
            piece = np.empty(wanted, var.encoding.value_dtype)
            if regridding is not None:
                wanted = regridding.room(piece).shape
            assert found.shape == wanted, f"{var.name} has shape {found.shape}, not {wanted}"
            place, as_stored = (np.empty(wanted, var.encoding.value_dtype) for _ in range(2))
            there.read_data_into(coord, var, place)
            cast_into(found, as_stored, var.name, var.encoding.missing)
            same = np.array_equal(place, as_stored, equal_nan=place.dtype.kind == "f")
            assert same, f"{var.name}: read_data_into() gives other values than read_data()"
            if found.dtype.kind == "f":
                assert not np.isnan(found).all(), f"{var.name}: {url_of(coord)} has no value"
            if regridding is not None:
                regridding.bring(place, piece)
            if offsets is None:
                _check_transformed(job, var, at, place if regridding is None else piece)

    # -- archives -----------------------------------------------------------------------------

    def test_an_archive_in_steps_is_the_archive_at_once(self, tmp_path: Path) -> None:
        """A backfill of a part and an update give what one backfill gives, value for value."""
        source = self._source(tmp_path)
        config = self._config()
        index = config.get_template(config.label(self.until)).get_index(config.append_dim)
        middle, end = index[len(index) // 2], config.label(self.until)
        at_once = self._dataset(tmp_path / "once.zarr", source)
        report = at_once.backfill(end, **self._filters(), client="none", now=end)
        _check_succeeded(report)
        assert report.positions_after == len(index), report.stops_because
        in_steps = self._dataset(tmp_path / "steps.zarr", source)
        # On an irregular axis the last labels wait until they are as old as its settling window.
        present = middle if config.append_dim_frequency is not None else end
        in_steps.backfill(middle, **self._filters(), client="none", now=present)
        updated = in_steps.reformat_operational_update(client="none", now=end)
        assert updated.positions_after == len(index), updated.stops_because
        xr.testing.assert_identical(
            at_once.store.open_dataset().load(), in_steps.store.open_dataset().load()
        )

    def test_what_is_done_is_not_done_again(self, tmp_path: Path) -> None:
        """A second backfill finds everything done."""
        source = self._source(tmp_path)
        end = self._config().label(self.until)
        dataset = self._dataset(tmp_path / "a.zarr", source)
        first = dataset.backfill(end, **self._filters(), client="none", now=end)
        _check_succeeded(first)
        again = dataset.backfill(end, **self._filters(), client="none", now=end)
        assert again.variables_done == 0, f"{again.variables_done} variables were reprocessed"
        assert again.variables_skipped == first.variables_done, "some were neither"

    # -- what the suite works on --------------------------------------------------------------

    def _config(self) -> Any:
        config = self.dataset.template_config()
        if config.append_dim_frequency is None:  # the provider may be asked for labels
            source = _source_of_labels(self)
            config = on_axis(
                listing(config, self._listings(source)),
                published=lambda: None,
                source=(source,),
                present=config.label(self.until),
            )
        return config.narrowed(start=self.start, variables=self.variables)

    def _listings(self, source: str) -> Listings:
        """Return the provider's folders; without a source nobody is asked."""
        settings = self.dataset.region_job.download_settings
        return Listings((source or NO_SOURCE,), settings, asks=bool(source))

    def _template(self) -> xr.Dataset:
        config = self._config()
        ds: xr.Dataset = config.get_template(config.label(self.until))
        return ds

    def _filters(self) -> dict[str, Any]:
        return {"start": self.start, "variables": self.variables}

    def _source(self, tmp_path: Path) -> str:
        folder = tmp_path / "source"
        folder.mkdir()
        return self.make_source(folder)

    def _dataset(self, store: Path, source: str) -> DynamicalDataset:
        return self.dataset(store, source_base=source)

    def _groups(self, source: str = "") -> Iterator[tuple[RegionJob[Any, Any], PreparedGroup]]:
        """Return the source groups of every region, and of the static variables."""
        config, ds = self._config(), self._template()
        dim = config.append_dim
        arrays: dict[str, Any] = {var.name: {} for var in config.data_vars}
        regions = [Region.STATIC, *regions_of(ds.sizes[dim], config.region_length)]
        for region in regions:
            chosen = [var for var in config.data_vars if (dim in var.dims) != region.is_static]
            if not chosen:
                continue
            job = self.dataset.region_job(
                template_ds=ds,
                data_vars=chosen,
                append_dim=dim,
                region=region,
                # Some datasets have no provider of their own, and ask for an address.
                source_base=(source or NO_SOURCE,),
                listings=self._listings(source),
            )
            for group in prepare_region(job, None, arrays, nothing_missing).groups:
                yield job, group


def _source_of_labels(contract: DatasetContract) -> str:
    """Make a source once for a test, which is gone with it."""
    made: tuple[Any, str] | None = vars(contract).get("_labels")
    if made is None:
        folder = tempfile.TemporaryDirectory()
        made = vars(contract)["_labels"] = folder, contract.make_source(Path(folder.name))
    return made[1]


def _check_succeeded(report: RunReport) -> None:
    """Raise what the first failure of a run is; the others are mostly the same."""
    told = [f"{one.variable} at {one.region}: {one.cause}" for one in report.failures]
    told += [f"{one.url} {one.status} ({one.detail})" for one in report.problems]
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    assert report.succeeded, f"the backfill failed: {told[0] if told else report}{more}"


def _downloaded(job: RegionJob[Any, Any], coord: SourceFileCoord) -> Path:
    done: Any = job.download_file(coord)
    path = getattr(done, "path", done)
    assert isinstance(path, Path), (
        f"{type(job).__name__}.download_file() returns {done!r}: return the path, or the Download"
    )
    assert path.is_file(), f"{type(job).__name__}.download_file() returns {path}, where no file is"
    return path


def _by_label(dims: Sequence[str], mask: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return by dim at which of its labels any place is offered."""
    every = range(len(dims))
    return {dim: mask.any(axis=tuple(n for n in every if n != at)) for at, dim in enumerate(dims)}


def _shape_at(var: DataVar, place: Any, sizes: Mapping[str, int]) -> tuple[int, ...]:
    lengths = []
    for dim in var.dims:
        at = place.get(dim, slice(None))
        if isinstance(at, slice):
            lengths.append(len(range(*as_slice(at).indices(sizes[dim]))))
    return tuple(lengths)


def _check_transformed(job: RegionJob[Any, Any], var: DataVar, place: Any, piece: Any) -> None:
    """Transform a region in which only this piece is not missing."""
    ds, encoding = job.processing_region_ds(), var.encoding
    shape = [ds.sizes[dim] for dim in var.dims]
    values = np.full(shape, encoding.value_fill, encoding.value_dtype)
    values[tuple(place.get(dim, slice(None)) for dim in var.dims)] = piece
    coords = {name: c for name, c in ds.coords.items() if set(c.dims) <= set(var.dims)}
    before = values.copy()
    data_array = xr.DataArray(values, coords, var.dims, var.name, var.attrs)
    try:
        there: Any = job.for_worker((var,))
        given = there.apply_data_transformations(data_array, var)
        if given is None:
            given = there.transform_values_inplace(before, var)
    except Exception as error:
        raise AssertionError(
            f"{type(job).__name__} fails to transform {var.name} where other source files are "
            f"missing ({type(error).__name__}: {error}): so no region can be published that lacks "
            "one; let it take missing values"
        ) from error
    assert given is None, (
        f"{type(job).__name__} returns an array from a transformation of {var.name}, which is "
        "ignored: change the values in place (values[...] = …)"
    )


def _later(label: Any) -> Any:
    import pandas as pd

    return label + pd.Timedelta(days=365).to_pytimedelta()

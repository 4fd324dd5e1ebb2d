"""What a catalogue says of dimensions, places and times, and of licences and providers."""

from __future__ import annotations

from typing import Any

import cftime
import numpy as np
import pandas as pd
import pystac
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pystac.extensions.datacube import DatacubeExtension
from pystac.validation import RegisteredValidator

from gridmill.model.urls import mask_text, mask_url
from gridmill.operations.catalogue.collection import build_collection
from gridmill.operations.catalogue.cube import bounding_box, cube_dimensions, interval
from gridmill.operations.catalogue.opening import Way, ways_in
from gridmill.stores.opening import open_store
from stac_rules import broken_rules

WAYS = [Way("zarr", "s3://bucket/a.zarr", "zarr", {"anon": True})]


def forecast(**attrs: Any) -> xr.Dataset:
    """Give forecasts of three members on two pressure levels of a global grid."""
    hours = np.array([0, 6, 12], "timedelta64[h]").astype("timedelta64[ns]")
    coords: dict[str, Any] = {
        "init_time": pd.date_range("2020-01-01", periods=4, freq="12h"),
        "lead_time": hours,
        "member": [0, 1, 2],
        "pressure": ("pressure", [850.0, 500.0], {"units": "hPa", "positive": "down"}),
        "latitude": ("latitude", np.arange(90, -91, -30.0), {"units": "degrees_north"}),
        "longitude": ("longitude", np.arange(0, 360, 60.0), {"units": "degrees_east"}),
        "completeness": (("init_time", "lead_time"), np.tile([1, 1, 0.25], (4, 1))),
    }
    dims = ("init_time", "lead_time", "member", "pressure", "latitude", "longitude")
    shape = (4, 3, 3, 2, 7, 6)
    about = {"long_name": "Air temperature", "units": "K", "standard_name": "air_temperature"}
    t = (dims, np.zeros(shape, "float32"), about)
    return xr.Dataset({"t": t}, coords, attrs)


def collection_of(ds: xr.Dataset) -> dict[str, Any]:
    """Give the collection of forecasts."""
    return build_collection(
        ds,
        dataset_id="fc",
        append_dim="init_time",
        version="3",
        ways=WAYS,
        completeness="completeness",
    )


def test_every_dimension_says_what_it_is():
    """Times, leads, members, levels and places, each as the datacube extension has them."""
    dims = cube_dimensions(forecast())
    assert dims["init_time"] == {
        "type": "temporal",
        "extent": ["2020-01-01T00:00:00Z", "2020-01-02T12:00:00Z"],
        "step": "PT12H",
    }
    assert dims["lead_time"]["values"] == [0, 6, 12]
    assert (dims["lead_time"]["unit"], dims["lead_time"]["step"]) == ("h", 6)
    assert dims["member"]["type"] == "member"
    assert (dims["pressure"]["axis"], dims["pressure"]["values"]) == ("z", [850, 500])
    assert (dims["longitude"]["axis"], dims["longitude"]["extent"]) == ("x", [0, 300])
    assert (dims["latitude"]["axis"], dims["latitude"]["step"]) == ("y", -30)


def test_a_collection_is_valid_and_read_by_pystac():
    """By the schemas that come with pystac, and its datacube extension finds every dimension."""
    content = collection_of(forecast(title="Forecast", license="CC-BY-4.0", institution="Office"))
    RegisteredValidator.get_validator().validate_core(
        content, pystac.STACObjectType.COLLECTION, "1.1.0"
    )
    assert content["license"] == "CC-BY-4.0"
    assert content["providers"] == [{"name": "Office", "roles": ["producer"]}]
    assert content["extent"]["temporal"]["interval"] == [
        ["2020-01-01T00:00:00Z", "2020-01-03T00:00:00Z"]
    ]
    assert content["gridmill:completeness_of_newest"] == 0.75
    assert content["assets"]["zarr"]["xarray:storage_options"] == {"anon": True}
    # pystac knows the extension before its present version, which has the same fields.
    older = "https://stac-extensions.github.io/datacube/v2.2.0/schema.json"
    content["stac_extensions"] = [older]
    cube = DatacubeExtension.ext(pystac.Collection.from_dict(content))
    assert set(cube.dimensions) == set(forecast().sizes)
    assert cube.variables["t"].dimensions == list(forecast()["t"].dims)


def means() -> xr.Dataset:
    """Give forecasts that say for which times each value is a mean."""
    ds = forecast()
    bounds = (("init_time", "nv"), np.zeros((4, 2), "datetime64[ns]"))
    return ds.assign_coords(time_bounds=bounds)


def stations(number: int) -> xr.Dataset:
    """Give forecasts at places that have names."""
    names = [f"place-{n}" for n in range(number)]
    small = forecast().isel(latitude=0, longitude=0, drop=True)
    return small.expand_dims(station=names).assign_coords(station=("station", names))


@pytest.mark.parametrize("ds", [forecast(), means(), stations(3), stations(201)])
def test_a_collection_keeps_the_rules_of_its_extensions(ds):
    """Every dimension of a variable is described, of bounds, too; a list of values has them all."""
    collection = collection_of(ds)
    assert broken_rules(collection) == []
    for name, dim in collection["cube:dimensions"].items():
        assert len(dim.get("values", range(ds.sizes[name]))) == ds.sizes[name]


def broken(path: str, value: Any) -> dict[str, Any]:
    """Give a collection with one thing in it otherwise."""
    collection = collection_of(forecast())
    *keys, last = path.split("/")
    place: Any = collection
    for key in keys:
        place = place[key]
    place[last] = value
    return collection


WRONG = [
    ("cube:dimensions", None, "is required"),
    ("cube:dimensions/t", {"type": "count", "extent": [0, 1]}, "a dimension and a variable"),
    ("cube:dimensions/latitude/extent", [90, -90], "a lower and an upper bound"),
    ("cube:dimensions/latitude/extent", [None, 90], "closed"),
    ("cube:dimensions/latitude/axis", "n", "axis is x, y or z"),
    ("cube:dimensions/member/axis", "z", "only a spatial dimension"),
    ("cube:dimensions/member", {"type": "member"}, "extent or values is required"),
    ("cube:dimensions/member/step", "1", "step is a number"),
    ("cube:dimensions/pressure/values", [None], "numbers or texts"),
    ("cube:dimensions/init_time/step", "12h", "ISO 8601 duration"),
    ("cube:dimensions/init_time/extent", ["2020-01-01", "soon"], "two dates"),
    ("cube:variables/t/dimensions", ["depth"], "lacks depth"),
    ("cube:variables/t/type", "field", "data or auxiliary"),
    ("cube:variables/t/data_type", "bool", "no data type"),
    ("cube:variables/t/unit", 3, "unit is a text"),
    ("assets/zarr/zarr:zarr_format", "3", "zarr:zarr_format"),
    ("assets/zarr/zarr:chunks", [1], "zarr:chunks"),
    ("assets/zarr/xarray:open_kwargs", "zarr", "xarray:open_kwargs"),
    ("assets", {"page": {"href": "./index.html"}}, "no asset has a field of zarr"),
    ("version", 3, "version is a text"),
]


@pytest.mark.parametrize(("path", "value", "told"), WRONG)
def test_what_breaks_a_rule_is_found(path, value, told):
    """Each rule is one that a collection can break."""
    assert any(told in rule for rule in broken_rules(broken(path, value)))


def test_a_licence_in_prose_is_said_and_linked():
    """STAC takes identifiers only."""
    text = "Open to the public, see https://example.org/terms"
    content = collection_of(forecast(license=text))
    assert content["license"] == "other"
    assert f"Licence: {text}" in content["description"]
    assert {"rel": "license", "href": "https://example.org/terms"} in content["links"]


@given(st.floats(-180, 179), st.integers(2, 100), st.floats(0.1, 2))
def test_a_box_holds_every_longitude(first, n, step):
    """Whichever way round they are counted, and across 180°."""
    lon = first + step * np.arange(n)
    for turned in (lon, lon % 360):
        ds = xr.Dataset(
            coords={
                "x": ("x", turned, {"units": "degrees_east"}),
                "y": ("y", [-1.0, 2.0], {"units": "degrees_north"}),
            }
        )
        west, south, east, north = bounding_box(ds)
        assert (south, north) == (-1, 2)
        assert -180 <= west <= 180
        assert -180 <= east <= 180
        width = (east - west) % 360 or 360
        assert width == pytest.approx(step * (n - 1), abs=1e-6)


def test_a_global_grid_is_the_whole_way_round():
    """Though its last longitude is a step before the first."""
    assert bounding_box(forecast()) == [-180, -90, 180, 90]


def test_days_that_only_another_calendar_has_are_the_months_last():
    """STAC's dates are those of the common calendar."""
    times = xr.date_range("2001-02-29", periods=2, calendar="360_day", use_cftime=True)
    assert isinstance(times[0], cftime.Datetime360Day)
    ds = xr.Dataset(coords={"time": times})
    assert interval(ds, "time") == ["2001-02-28T00:00:00Z", "2001-02-28T00:00:00Z"]


AT_ACCOUNT = "abfs://box@account.dfs.core.windows.net/a.zarr"


def test_a_container_at_an_account_is_named_and_a_login_is_not():
    """What stands before the host of Azure's addresses is no login, unless it has a password."""
    (way,) = ways_in(open_store(AT_ACCOUNT, "x"), [], {"anon": True})
    assert way.asset["href"] == AT_ACCOUNT
    words = '"box", prefix="a.zarr", account_name="account", skip_signature=True'
    assert f"AzureStore({words})" in way.python
    assert mask_text(f"see '{AT_ACCOUNT}'") == f"see '{AT_ACCOUNT}'"
    for url in ("abfs://box:pw@account/a", "sftp://box@host/a", "abfs://a@b@host/a"):
        assert mask_url(url).startswith(f"{url.partition('://')[0]}://***@")


def test_a_replica_of_another_kind_gets_no_options_of_the_archive():
    """An endpoint of S3 means nothing elsewhere; those of a local archive are its replicas'."""
    options = {"endpoint_url": "https://s3.example.org"}
    in_s3, local = (open_store(url, "x") for url in ("s3://b/a.zarr", "/data/a.zarr"))
    at_azure, other = (open_store(url, "x") for url in (AT_ACCOUNT, "s3://c/a.zarr"))
    ways = ways_in(in_s3, [at_azure, other, local], options)
    assert [way.options for way in ways] == [options, {}, options, {}]
    assert [way.options for way in ways_in(local, [other], options)] == [{}, options]

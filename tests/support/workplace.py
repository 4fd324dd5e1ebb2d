"""One region of one archive whose stages are called by hand, without Dask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.authoring.locate import processing_region
from gridmill.pipeline.compress import compress
from gridmill.pipeline.download import download
from gridmill.pipeline.upload import upload
from gridmill.pipeline.values import Bench, LocalFiles, Receipt, RunContext, VariableWork
from gridmill.pipeline.workspace import Workspace
from gridmill.planning.prepare import prepare_region
from gridmill.stores.state.leases import LeaseLost
from gridmill.stores.zarr_store import ZarrStore
from tiny import Provider, TinyJob, TinyTemplate, hours, until

N = 8


@dataclass
class Proof:
    """The lease's word."""

    stands: bool = True

    def check(self) -> None:
        """Raise once it is lost."""
        if not self.stands:
            raise LeaseLost("gone")


class Workplace:
    """One region of one archive, its stages called by hand."""

    def __init__(self, tmp_path, job_class=TinyJob, config=None, published=0, n=N) -> None:
        self.provider = Provider(tmp_path / "provider")
        self.provider.publish(hours(n))
        self.store = ZarrStore(str(tmp_path / "a.zarr"), "tiny")
        self.config = config or TinyTemplate()
        self.template_ds = self.config.get_template(until(n))
        self.job_class = job_class
        self.archive = Archive(self.store, self.config, self.template_ds, self.job)
        self.workspace = Workspace(tmp_path / "worker")
        self.proof = Proof()
        static = [name for name, c in self.template_ds.coords.items() if "time" not in c.dims]
        self.context = RunContext(
            run="r",
            store=self.store,
            proof=self.proof,
            metadata=self.archive.metadata,
            published=published,
            coords=self.template_ds.coords.to_dataset()[static],
        )

    def job(self, region=slice(0, 4), data_vars=None):
        """Return the region job."""
        return self.job_class(
            template_ds=self.template_ds,
            data_vars=self.config.data_vars if data_vars is None else data_vars,
            append_dim="time",
            region=region,
            source_base=(str(self.provider.root),),
        )

    def bench(self, key: str) -> Bench:
        """Return where a task of this key runs."""
        return Bench(self.workspace.of_key(key), "worker")

    def download(self, region=slice(0, 4)) -> LocalFiles:
        """Fetch the source files."""
        job = self.job(region)
        prepared = prepare_region(job, None, self.archive.arrays, lambda *_: [])
        return download(self.bench("download"), job.for_worker(()), prepared.groups[0].files)

    def work(self, name="a", region=slice(0, 4)) -> VariableWork:
        """Return what compress needs beside."""
        job = self.job(region)
        (var,) = self.config.select([name])
        ds = job.processing_region_ds()
        along = [n for n, c in ds.coords.items() if "time" in c.dims]
        return VariableWork(
            job=job.for_worker((var,)),
            processing_region=processing_region(job),
            sizes={dim: ds.sizes[dim] for dim in var.dims},
            coords=ds.coords.to_dataset()[along],
        )

    def compress(self, source, name="a", region=slice(0, 4)):
        """Read, transform and write one variable."""
        return compress(self.bench("compress"), self.context, self.work(name, region), source)

    def upload(self, shards) -> Receipt:
        """Put what compress wrote."""
        return upload(self.bench("upload"), self.context, shards)

    def run(self, name="a", region=slice(0, 4)) -> Receipt:
        """Take one variable through all stages."""
        return self.upload(self.compress(self.download(region), name, region))

    def publish(self) -> None:
        """Make everything that is uploaded visible."""
        with self.archive.written(self.template_ds) as folder:
            self.store.publish(folder)

    def values(self, name="a") -> np.ndarray:
        """Return what readers see."""
        self.publish()
        with xr.open_zarr(self.store.url) as ds:
            return ds[name].values

"""`ProviderPipeline`: one archive, one collection, one grid, four assets, declared in YAML."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Literal, override

import dagster as dg
from pydantic import Field

from geostack_dagster.components.assets import Upkeep, pipeline_assets
from geostack_dagster.components.checks import pipeline_checks
from geostack_dagster.components.reconcile import Pace, reconcile_sensor
from geostack_dagster.components.rerun import rerun_job
from geostack_dagster.components.schedules import snapshot_schedule
from geostack_dagster.domain.days import Cadence
from geostack_dagster.domain.query import Predicate
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.pipeline.check_spec import CheckSpec
from geostack_dagster.pipeline.spec import MethaneMethod, MethaneSpec, PipelineSpec, WindSpec
from geostack_dagster.providers import provider_named

# `inference.indices` holds the formulas; it imports JAX, which the code location does without.
IndexName = Literal["NDVI", "EVI", "NDWI", "MNDWI", "NDMI", "NBR", "NDSI", "SAVI", "BSI"]


class PredicateModel(dg.Model, dg.Resolvable):
    """A comparison on an Item property; re-checked on the client whatever the archive does."""

    property: str
    op: Literal["eq", "neq", "lt", "lte", "gt", "gte"]
    value: float | str


class WindModel(dg.Model, dg.Resolvable):
    """Wind that carries plumes: one value, or a CSV table (URL or path below the storage root)."""

    speed_m_s: float = Field(default=3.0, gt=0)
    sigma_m_s: float | None = None
    table: str | None = None


class MethaneModel(dg.Model, dg.Resolvable):
    """How methane is retrieved, and its plumes found and quantified."""

    method: Literal["archive", "matched_filter", "mag1c", "relative", "mbmp"]
    wind: WindModel = WindModel()
    scheme: str = "csf"
    absorption: str | None = None
    fit_ppm_m: list[float] | None = None
    """Columns over which a target spectrum is fitted: `[0, 500, 1000]`."""
    fit_kind: Literal["log_linear", "quadratic"] | None = None
    audit: float = Field(default=0.1, ge=0, le=1)
    """Share of scenes that are put up for review whatever was found in them."""
    detector: str | None = None
    """A `PlumeDetector` by name: its champion looks for plumes as well."""


class GridModel(dg.Model, dg.Resolvable):
    """Pixel size in the CRS's unit; the CRS is the AOI's own unless one is named."""

    resolution: float = 10.0
    crs: str | None = None
    chunk: int = Field(default=512, ge=16)
    margin_m: float = Field(default=0.0, ge=0)


class SearchModel(dg.Model, dg.Resolvable):
    """Which client asks the catalogue, and how much at most."""

    client: Literal["pystac-client", "rustac"] = "pystac-client"
    max_items: int | None = None
    page_limit: int | None = None


class ScheduleModel(dg.Model, dg.Resolvable):
    """When the newest dates are asked for again: archives publish late."""

    cron: str = "0 6 * * *"
    window_days: int = Field(default=3, ge=1)


class FreshnessModel(dg.Model, dg.Resolvable):
    """How long nobody may have looked, before the UI warns and fails [hours].

    With the daily schedule on, every asset is looked at each day.
    """

    warn_h: float = Field(default=36, gt=0)
    fail_h: float = Field(default=72, gt=0)


class ReconcileModel(dg.Model, dg.Resolvable):
    """How much of the state and the catalogue each tick of the reconcile sensor looks at."""

    recent_days: int = Field(default=10, ge=1)
    sweep_dates: int = Field(default=60, ge=1)
    most_requests: int = Field(default=20, ge=1)
    interval_s: int = Field(default=300, ge=5)


class ChecksModel(dg.Model, dg.Resolvable):
    """What is tolerated before an asset check speaks up; see `pipeline.check_spec`."""

    radiometry: Literal["block", "warn"] = "block"
    least_coverage: float = Field(default=0.01, ge=0, le=1)
    most_nodata: float = Field(default=0.999, ge=0, le=1)
    nodata_spread: float = Field(default=0.05, ge=0, le=1)
    most_outside: float = Field(default=0.01, ge=0, le=1)
    stale_after_days: int | None = Field(default=None, ge=1)


class ProviderPipeline(dg.Component, dg.Model, dg.Resolvable):
    """Catalogue snapshot -> authenticated stack -> Zarr cube -> JAX outputs, for one archive.

    The pipeline is named after its folder below `defs/`.
    """

    provider: str
    collection: str
    bands: Sequence[str] = ()
    wavelengths_nm: Sequence[Sequence[float]] = ()
    """Windows whose bands are read besides `bands`: `[[2110, 2450]]`."""
    indices: Sequence[IndexName] = ()
    methane: MethaneModel | None = None
    start: str
    """First date, `2024-06-01`."""
    end: str | None = None
    cadence: Literal["daily", "weekly", "monthly"] = "daily"
    filter: Sequence[PredicateModel] = ()
    grid: GridModel = GridModel()
    search: SearchModel = SearchModel()
    mask_buffer_m: float = 60.0
    resampling: Literal["nearest", "bilinear", "cubic", "average", "mode"] = "nearest"
    loader: Literal["odc", "odc_gdal", "stackstac", "rioxarray", "earthaccess"] | None = None
    """For archives of files; services that render pixels have a loader of their own.

    `earthaccess` opens granules in sensor geometry, and nothing else.
    """
    transport: Literal["obstore", "fsspec"] = "obstore"
    """What carries bytes from the archive; the pixels are the same."""
    store: Literal["icechunk", "zarr"] = "icechunk"
    max_soft_errors: float = Field(default=0.0, ge=0, le=1)
    """Fraction of a partition's assets (Item x band) that may be unreadable: it is kept then,
    flagged and marked partial. 0 fails it with the first."""
    max_partitions_per_run: int = 32
    schedule: ScheduleModel = ScheduleModel()
    reconcile: ReconcileModel = ReconcileModel()
    freshness: FreshnessModel = FreshnessModel()
    checks: ChecksModel = ChecksModel()
    owners: Sequence[str] = ()

    def spec(self, name: str) -> PipelineSpec:
        """The validated pipeline.

        Raises:
            ConfigurationError: If the provider, collection, a band or the dates are wrong.
        """
        return PipelineSpec(
            name=name,
            provider=provider_named(self.provider),
            collection=self.collection,
            bands=tuple(self.bands),
            wavelengths_nm=tuple(_window(one) for one in self.wavelengths_nm),
            indices=tuple(self.indices),
            methane=None if self.methane is None else _methane(self.methane),
            start=date.fromisoformat(self.start),
            end=None if self.end is None else date.fromisoformat(self.end),
            cadence=Cadence(self.cadence),
            predicates=tuple(Predicate(one.property, one.op, one.value) for one in self.filter),
            resolution=self.grid.resolution,
            crs=self.grid.crs,
            chunk=self.grid.chunk,
            margin_m=self.grid.margin_m,
            mask_buffer_m=self.mask_buffer_m,
            resampling=self.resampling,
            search_client=self.search.client,
            loader=self.loader,
            transport=self.transport,
            store=self.store,
            max_soft_errors=self.max_soft_errors,
            max_items=self.search.max_items,
            page_limit=self.search.page_limit,
            checks=CheckSpec(**self.checks.model_dump()),
        )

    @override
    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, checks, schedule, reconcile sensor and rerun job of the pipeline."""
        return self.named(context.path.name)

    def named(self, name: str) -> dg.Definitions:
        """The same for a pipeline of this name."""
        spec = self.spec(name)
        assets = pipeline_assets(spec, self._upkeep())
        schedule = snapshot_schedule(
            spec, cron=self.schedule.cron, window_days=self.schedule.window_days
        )
        sensor = reconcile_sensor(spec, Pace(**self.reconcile.model_dump()))
        return dg.Definitions(
            assets=assets,
            asset_checks=pipeline_checks(spec),
            schedules=[schedule],
            sensors=[sensor],
            jobs=[rerun_job(spec)],
        )

    def _upkeep(self) -> Upkeep:
        return Upkeep(
            owners=list(self.owners),
            max_partitions_per_run=self.max_partitions_per_run,
            freshness=dg.FreshnessPolicy.time_window(
                warn_window=timedelta(hours=self.freshness.warn_h),
                fail_window=timedelta(hours=self.freshness.fail_h),
            ),
        )


def _window(bounds: Sequence[float]) -> tuple[float, float]:
    if len(bounds) != 2 or not bounds[0] <= bounds[1]:
        raise ConfigurationError(
            f"a window of wavelengths is two rising numbers [nm], not {list(bounds)}"
        )
    return bounds[0], bounds[1]


def _methane(asked: MethaneModel) -> MethaneSpec:
    return MethaneSpec(
        method=MethaneMethod(asked.method),
        wind=WindSpec(**asked.wind.model_dump()),
        scheme=asked.scheme,
        absorption=asked.absorption,
        fit_ppm_m=None if asked.fit_ppm_m is None else tuple(asked.fit_ppm_m),
        fit_kind=asked.fit_kind,
        audit=asked.audit,
        detector=asked.detector,
    )

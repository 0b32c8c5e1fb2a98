"""What a pipeline is asked to do: the validated form of a `defs.yaml`."""

import re
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Literal

from geostack_dagster.domain.days import Cadence
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.query import Predicate
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.pipeline.check_spec import CheckSpec
from geostack_dagster.providers import Collection, Provider

_SLUG = re.compile(r"[a-z][a-z0-9_]{0,62}")

# Raise a stage's number when its code would write something else for the same input: outputs made
# by the old code become stale then, and only those.
STAGE_CODE = {
    "snapshot": 1,
    "stack": 1,
    "cube": 2,
    "indices": 1,
    "enhancement": 6,
    "plumes": 6,
    "review": 1,
    "plume_labels": 1,
    "probability": 1,
}
_UPSTREAM = {
    "stack": "snapshot",
    "cube": "stack",
    "indices": "cube",
    "enhancement": "cube",
    "plumes": "enhancement",
    "review": "plumes",
    "plume_labels": "snapshot",
    "probability": "enhancement",
}


class MethaneMethod(StrEnum):
    """Where a methane enhancement comes from."""

    ARCHIVE = "archive"
    """The archive's own product (EMIT L2B): the cube holds it."""
    MATCHED_FILTER = "matched_filter"
    """Columnwise, from radiance in sensor geometry."""
    MAG1C = "mag1c"
    """The same with albedo factor and sparsity: finds plumes, and gives no rates."""
    RELATIVE = "relative"
    """Matched filter on surface reflectance: patterns, no rates."""
    MBMP = "mbmp"
    """Two short-wave bands against a pass without plume (Sentinel-2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindSpec:
    """Wind that carries the plumes: a table by URL, else the same everywhere."""

    speed_m_s: float = 3.0
    sigma_m_s: float | None = None
    """None takes the usual uncertainty of a reanalysis."""
    table: str | None = None
    """CSV of `longitude,latitude,time,u10,v10`; relative to the storage root, or any URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethaneSpec:
    """How methane is retrieved, found and quantified."""

    method: MethaneMethod
    wind: WindSpec = field(default_factory=WindSpec)
    scheme: str = "csf"
    """One of `inference.quantify.SCHEMES`."""
    absorption: str | None = None
    """Look-up table by path or URL; None takes the surrogate that the project ships."""
    fit_ppm_m: tuple[float, ...] | None = None
    """Columns over which a target's unit absorption is fitted; None takes 0 to 4000 ppm m."""
    fit_kind: Literal["log_linear", "quadratic"] | None = None
    audit: float = 0.1
    """Share of scenes that are put up for review whatever was found in them."""
    detector: str | None = None
    """Detector whose champion looks for plumes as well; None for none."""

    def __post_init__(self) -> None:
        if self.detector is not None and self.method is MethaneMethod.MAG1C:
            raise ConfigurationError(
                f"detector {self.detector!r} learns from signed enhancement and its noise, and a "
                "map of mag1c is 0 over most of its ground: use method matched_filter, or leave "
                "the detector out"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """One pipeline: provider, what to read, on which grid, into which products."""

    name: str
    provider: Provider
    collection: str
    bands: tuple[str, ...]
    start: date
    wavelengths_nm: tuple[tuple[float, float], ...] = ()
    """Windows whose bands are read besides `bands`; of a swath, the only ones that are read."""
    indices: tuple[str, ...] = ()
    methane: MethaneSpec | None = None
    end: date | None = None
    cadence: Cadence = Cadence.DAILY
    predicates: tuple[Predicate, ...] = ()
    resolution: float = 10.0
    """Pixel size of the cube's grid [unit of its CRS]."""
    crs: str | None = None
    """CRS of every AOI's grid; None takes the CRS that the AOI was pinned to."""
    chunk: int = 512
    """Rows and columns of a chunk of the cube [pixels]."""
    margin_m: float = 0.0
    """Ground around the AOI that the cube holds as well: context for statistics."""
    mask_buffer_m: float = 60.0
    resampling: str = "nearest"
    search_client: str = "pystac-client"
    loader: str | None = None
    """None takes the usual one for where the provider's pixels come from."""
    transport: Literal["obstore", "fsspec"] = "obstore"
    """What carries bytes from the archive; no fingerprint counts it, for it decides no pixel."""
    store: str = "icechunk"
    max_soft_errors: float = 0.0
    """Fraction of a partition's assets (Item x band) that may be unreadable; no fingerprint counts
    it, for what was unreadable does."""
    max_items: int | None = None
    page_limit: int | None = None
    checks: CheckSpec = field(default_factory=CheckSpec)

    def __post_init__(self) -> None:
        if not _SLUG.fullmatch(self.name):
            raise ConfigurationError(
                f"pipeline name {self.name!r} must be lower case letters, digits and '_'"
            )
        if self.end is not None and self.end <= self.start:
            raise ConfigurationError(
                f"{self.name}: date range is backwards: end {self.end} is not after start "
                f"{self.start}"
            )
        if not 0 <= self.max_soft_errors <= 1:
            raise ConfigurationError(
                f"{self.name}: max_soft_errors is a fraction of the assets, 0 to 1, not "
                f"{self.max_soft_errors}"
            )
        if not self.indices and self.methane is None:
            raise ConfigurationError(f"{self.name}: ask for `indices`, for `methane`, or for both")
        if not (self.band_names or self.wavelengths_nm):
            raise ConfigurationError(f"{self.name}: ask for `bands` or for `wavelengths_nm`")

    @property
    def stages(self) -> tuple[str, ...]:
        """Nouns of the pipeline's assets, parents first."""
        outputs = ["indices"] if self.indices else []
        if self.methane is not None:
            given = self.methane.method is MethaneMethod.ARCHIVE
            outputs += ["plumes", "review"] if given else ["enhancement", "plumes", "review"]
            outputs += ["plume_labels"] if self.record.plumes else []
            outputs += [] if self.methane.detector is None else ["probability"]
        return ("snapshot", "stack", "cube", *outputs)

    def parent(self, stage: str) -> str | None:
        """The stage that `stage` is made from; None for the first."""
        upstream = _UPSTREAM.get(stage)
        # Where the archive gives the enhancement itself the cube holds it.
        return upstream if upstream in (None, *self.stages) else "cube"

    def code_version(self, stage: str) -> str:
        """Changes when the stage's code or the part of the spec it depends on changes."""
        return fingerprint([stage, STAGE_CODE[stage], self._asked(stage)])[:12]

    @property
    def record(self) -> Collection:
        """What is known of the collection."""
        return self.provider.collection(self.collection)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Our names of all bands asked for, by name and by wavelength, each once.

        Raises:
            ConfigurationError: If a name is unknown.
        """
        where = f"{self.name} ({self.provider.slug}/{self.collection})"
        table = self.record.bands
        chosen = [*table.select(self.bands, where=where), *table.within(self.wavelengths_nm)]
        return tuple(dict.fromkeys(band.name for band in chosen))

    def _asked(self, stage: str) -> dict[str, Any]:
        own: dict[str, dict[str, Any]] = {
            "snapshot": {
                "provider": self.provider.slug,
                "collection": self.collection,
                "cadence": self.cadence,
                "predicates": [(one.name, one.op, one.value) for one in self.predicates],
                "max_items": self.max_items,
            },
            "stack": {
                "bands": self.bands,
                "wavelengths_nm": self.wavelengths_nm,
                "resolution": self.resolution,
                "crs": self.crs,
                "margin_m": self.margin_m,
                "resampling": self.resampling,
                "loader": self.loader,
            },
            "cube": {"chunk": self.chunk, "store": self.store},
            "indices": {"indices": self.indices, "mask_buffer_m": self.mask_buffer_m},
            "enhancement": {"mask_buffer_m": self.mask_buffer_m, "methane": self._retrieval},
            "probability": {"detector": self.methane and self.methane.detector},
            "plumes": {"wind": self._wind, "scheme": self.methane and self.methane.scheme},
            "review": {"audit": self.methane and self.methane.audit},
            "plume_labels": {"listed_in": self.record.plumes},
        }
        upstream = _UPSTREAM.get(stage)
        return own[stage] if upstream is None else self._asked(upstream) | own[stage]

    @property
    def _retrieval(self) -> tuple[Any, ...] | None:
        if self.methane is None:
            return None
        asked = self.methane
        return (asked.method, asked.absorption, asked.fit_ppm_m, asked.fit_kind)

    @property
    def _wind(self) -> dict[str, Any] | None:
        return None if self.methane is None else asdict(self.methane.wind)

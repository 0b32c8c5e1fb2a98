"""What a pipeline is asked to do: the validated form of a `defs.yaml`."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from geostack_dagster.domain.days import Cadence
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.query import Predicate
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers import Provider

_SLUG = re.compile(r"[a-z][a-z0-9_]{0,62}")

# Raise a stage's number when its code would write something else for the same input: outputs made
# by the old code become stale then, and only those.
STAGE_CODE = {"snapshot": 1, "stack": 1, "cube": 1, "indices": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """One pipeline: provider, what to read, on which grid, into which products."""

    name: str
    provider: Provider
    collection: str
    bands: tuple[str, ...]
    indices: tuple[str, ...]
    start: date
    end: date | None = None
    cadence: Cadence = Cadence.DAILY
    predicates: tuple[Predicate, ...] = ()
    resolution: float = 10.0
    """Pixel size of the cube's grid [unit of its CRS]."""
    crs: str | None = None
    """CRS of every AOI's grid; None takes the CRS that the AOI was pinned to."""
    chunk: int = 512
    """Rows and columns of a chunk of the cube [pixels]."""
    mask_buffer_m: float = 60.0
    resampling: str = "nearest"
    search_client: str = "pystac-client"
    loader: str = "odc"
    store: str = "icechunk"
    max_items: int | None = None
    page_limit: int | None = None

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
        bands = self.provider.collection(self.collection).bands
        bands.select(self.bands, where=f"{self.name} ({self.provider.slug}/{self.collection})")

    def code_version(self, stage: str) -> str:
        """Changes when the stage's code or the part of the spec it depends on changes."""
        return fingerprint([stage, STAGE_CODE[stage], self._asked(stage)])[:12]

    def _asked(self, stage: str) -> dict[str, Any]:
        order: dict[str, dict[str, Any]] = {
            "snapshot": {
                "provider": self.provider.slug,
                "collection": self.collection,
                "cadence": self.cadence,
                "predicates": [(one.name, one.op, one.value) for one in self.predicates],
                "max_items": self.max_items,
            },
            "stack": {
                "bands": self.bands,
                "resolution": self.resolution,
                "crs": self.crs,
                "resampling": self.resampling,
                "loader": self.loader,
            },
            "cube": {"chunk": self.chunk, "store": self.store},
            "indices": {"indices": self.indices, "mask_buffer_m": self.mask_buffer_m},
        }
        asked: dict[str, Any] = {}
        for name, part in order.items():
            asked |= part
            if name == stage:
                break
        return asked

"""A partition of a pipeline, and where each of its artefacts lives.

Assets find one another's artefacts through these pure functions, never through an IO manager.
"""

from dataclasses import dataclass
from typing import override

from geostack_dagster.domain.days import Cadence, Window

ATTEMPT = ".attempt.json"
"""How the name of a failed attempt's ledger ends."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One date window over one AOI of one pipeline."""

    pipeline: str
    aoi: str
    date: str
    cadence: Cadence = Cadence.DAILY

    @property
    def window(self) -> Window:
        """Solar days of the partition."""
        return Window.of(self.date, self.cadence)

    @override
    def __str__(self) -> str:
        """`pipeline/aoi/date`, for messages and commit notes."""
        return f"{self.pipeline}/{self.aoi}/{self.date}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where artefacts live below a storage root (a folder or a bucket URL, without a final /)."""

    root: str

    def snapshot(self, partition: Partition) -> str:
        """Frozen Items, stac-geoparquet; the ItemCollection JSON lies beside it."""
        return f"{self._of(partition)}/snapshots/{partition.aoi}/{partition.date}.parquet"

    def recipe(self, partition: Partition) -> str:
        """The Recipe, JSON."""
        return f"{self._of(partition)}/recipes/{partition.aoi}/{partition.date}.json"

    def tiles(self, partition: Partition) -> str:
        """The tile index beside the Recipe: headers of its files, Parquet; a cache."""
        return f"{self._of(partition)}/recipes/{partition.aoi}/{partition.date}.tiles.parquet"

    def attempt(self, partition: Partition) -> str:
        """Ledger of an attempt that failed, beside the Recipe, JSON; gone when one succeeds."""
        return f"{self.attempts(partition.pipeline, partition.aoi)}/{partition.date}{ATTEMPT}"

    def claim(self, partition: Partition) -> str:
        """Whose turn it is to make the partition, beside the Recipe; holds nothing to keep."""
        return f"{self._of(partition)}/recipes/{partition.aoi}/{partition.date}.claim"

    def attempts(self, pipeline: str, aoi: str) -> str:
        """Folder of the attempts' ledgers."""
        return f"{self.root}/{pipeline}/recipes/{aoi}"

    def cube(self, pipeline: str, aoi: str) -> str:
        """The cube's repository: one for each pipeline and AOI."""
        return f"{self.root}/{pipeline}/cubes/{aoi}"

    def published(self, partition: Partition, product: str) -> str:
        """Folder of the COGs, quicklook and STAC Item of one product."""
        return f"{self._of(partition)}/published/{product}/{partition.aoi}/{partition.date}"

    def reviews(self, pipeline: str) -> str:
        """Folder of all of a pipeline's review queues."""
        return f"{self.root}/{pipeline}/review"

    def review(self, partition: Partition) -> str:
        """Folder of a partition's review queue: table, GeoJSON and pictures."""
        return f"{self.reviews(partition.pipeline)}/{partition.aoi}/{partition.date}"

    def evidence(self, partition: Partition, stage: str) -> str:
        """What the pixels of a stage say, JSON; a cache that checks read."""
        return f"{self._of(partition)}/evidence/{stage}/{partition.aoi}/{partition.date}.json"

    def hold(self, partition: Partition) -> str:
        """Why a partition's cube is kept as it is, JSON; absent when it is not."""
        return f"{self._of(partition)}/holds/{partition.aoi}/{partition.date}.json"

    def pin(self, aoi: str) -> str:
        """The registered AOI: geometry and CRS, fixed from then on."""
        return f"{self.root}/aois/{aoi}.json"

    def target(self, digest: str) -> str:
        """A target spectrum that a retrieval used, JSON under the hash on its outputs."""
        return f"{self.root}/targets/{digest}.json"

    def plume_labels(self, partition: Partition) -> str:
        """Frozen Items of the archive's list of plumes; what was made of them lies beside."""
        return f"{self._of(partition)}/plume_labels/{partition.aoi}/{partition.date}.parquet"

    @property
    def label_log(self) -> str:
        """What was added to the labels, by whom and when, JSON."""
        return f"{self.root}/labels/log.json"

    def label_set(self, digest: str) -> str:
        """Labels that were added together, GeoJSON under the digest of its content."""
        return f"{self.root}/labels/{digest}.geojson"

    def models(self, detector: str) -> str:
        """Registry of a detector's models, a STAC Collection."""
        return f"{self.root}/models/{detector}"

    def learning(self, detector: str) -> str:
        """Training sets, checkpoints, evaluations and drift of a detector."""
        return f"{self.root}/learning/{detector}"

    def before_after(self, detector: str, after: str, before: str | None) -> str:
        """Picture of a model beside the champion before it, or the baseline without one."""
        evaluations = f"{self.learning(detector)}/evaluations"
        return f"{evaluations}/{after}-after-{before or 'baseline'}.png"

    def _of(self, partition: Partition) -> str:
        return f"{self.root}/{partition.pipeline}"
